// Command bound does the jobs of the bench as an ideal tool would: it is what
// every tool's time is compared with.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/imgtools/imgtools/bench/internal/bound"
)

func main() {
	var o bound.Options
	flag.BoolVar(&o.Plain, "http", false, "plain HTTP")
	flag.BoolVar(&o.HTTP2, "h2", false, "one HTTP/2 connection")
	flag.BoolVar(&o.Fsync, "fsync", false, "fsync the blobs of a layout, or an archive without -unpack")
	flag.BoolVar(&o.Ranges, "ranges", false, "large blobs over several connections")
	flag.IntVar(&o.Jobs, "jobs", 8, "blobs at once")
	flag.IntVar(&o.Level, "level", 5, "gzip level")
	flag.BoolVar(&o.Unpack, "unpack", false, "unpack the layers of a written archive")
	flag.Parse()
	if err := run(bound.New(o), flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bound:", err)
		os.Exit(1)
	}
}

func run(p *bound.Probe, args []string) error {
	ctx := context.Background()
	switch {
	case len(args) == 0:
		fmt.Println("bound copy FROM TO | digest REF | manifest REF | inspect REF")
		return nil
	case args[0] == "copy" && len(args) == 3:
		return p.Copy(ctx, args[1], args[2])
	case args[0] == "digest" && len(args) == 2:
		return p.Digest(ctx, args[1], os.Stdout)
	case args[0] == "manifest" && len(args) == 2:
		return p.Manifest(ctx, args[1], os.Stdout)
	case args[0] == "inspect" && len(args) == 2:
		return p.Inspect(ctx, args[1], os.Stdout)
	}
	return fmt.Errorf("unknown command %q; run bound alone for a list", args)
}
