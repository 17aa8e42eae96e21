// Registry serves an empty registry in memory on loopback until it is killed.
// Its first line of output is its address.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		fmt.Println(l.Addr())
		err = http.Serve(l, registrytest.New(registrytest.Options{}))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
