package tool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/conf"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

func parseError(t *testing.T, name string) error {
	t.Helper()
	_, err := transport.Parse(name)
	if err == nil {
		t.Fatalf("Parse(%q): no error", name)
	}
	return err
}

// The exit codes are promised in img(1): scripts branch on them. Where an error
// is two things, the worse one decides.
func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		hint string // part of it
	}{
		{errors.New("disk full"), cli.CodeFailed, ""},
		{context.Canceled, cli.CodeFailed, ""},
		{image.ErrUnsupported, cli.CodeFailed, ""},
		{image.ErrTooLarge, cli.CodeFailed, ""},
		{cli.Usagef("x"), cli.CodeUsage, ""},
		{parseError(t, "busybox"), cli.CodeUsage, "docker://"},
		{parseError(t, "foo:bar"), cli.CodeUsage, "docker://"},
		{parseError(t, "docker://A"), cli.CodeUsage, ""},
		{reference.ErrFormat, cli.CodeUsage, ""},
		{cli.ErrOutput, cli.CodeOutput, ""},
		{image.ErrNotFound, cli.CodeNotFound, ""},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}, cli.CodeNotFound, ""},
		{image.ErrUnauthorized, cli.CodeUnauthorized, ""},
		{&image.Error{Err: image.ErrUnauthorized}, cli.CodeUnauthorized, "--creds"},
		{&image.Error{Side: image.SideSource, Err: image.ErrUnauthorized}, cli.CodeUnauthorized, "--src-creds"},
		{&image.Error{Reference: "docker://r.example:5000/a/b:1", Err: image.ErrUnauthorized}, cli.CodeUnauthorized, "img-login r.example:5000;"},
		{&image.Error{Side: image.SideDestination, Err: image.ErrUnauthorized}, cli.CodeUnauthorized, "--dest-creds"},
		{image.ErrDenied, cli.CodeUnauthorized, ""},
		{image.ErrNetwork, cli.CodeNetwork, ""},
		{context.DeadlineExceeded, cli.CodeNetwork, ""},
		{image.ErrRejected, cli.CodeRejected, ""},
		{conf.ErrBlocked, cli.CodeRejected, ""},
		{image.ErrMismatch, cli.CodeMismatch, ""},
		{image.ErrIncomplete, cli.CodeMismatch, ""},
		{oci.ErrSchema1, cli.CodeFailed, "schema 1"},
		{fmt.Errorf("%w: %w", image.ErrNotFound, image.ErrMismatch), cli.CodeMismatch, ""},
		{fmt.Errorf("%w: %w", image.ErrNetwork, image.ErrUnauthorized), cli.CodeUnauthorized, ""},
		{fmt.Errorf("%w: %w", image.ErrNotFound, image.ErrRejected), cli.CodeRejected, ""},
	} {
		code, hint := Explain(fmt.Errorf("wrapped: %w", tt.err))
		if code != tt.code || !strings.Contains(hint, tt.hint) || (hint == "") != (tt.hint == "") {
			t.Errorf("Explain(%v) = %d, %q; want %d and a hint with %q", tt.err, code, hint, tt.code, tt.hint)
		}
		if strings.Contains(hint, "\n") {
			t.Errorf("the hint %q is more than one line", hint)
		}
	}
}

func standard() *cli.IO {
	return &cli.IO{In: strings.NewReader(""), Out: new(bytes.Buffer), Err: new(bytes.Buffer)}
}

// set gives flags the values that a command line would.
func set(t *testing.T, flags []cli.Flag, values map[string]string) {
	t.Helper()
	for _, f := range flags {
		v, ok := values[f.Name]
		if !ok {
			continue
		}
		delete(values, f.Name)
		if err := f.Value.Set(v); err != nil {
			t.Fatalf("--%s=%s: %v", f.Name, v, err)
		}
	}
	if len(values) > 0 {
		t.Fatalf("no such flags: %v", values)
	}
}

func TestAccess(t *testing.T) {
	a := AccessConfig{Prefix: "src-", Side: image.SideSource}
	c := NewCommonConfig()
	set(t, a.Flags(), map[string]string{
		"src-creds": "me:pass:word", "src-registry-token": "tok", "src-cert-dir": "certs", "src-tls-verify": "false", "src-shared-blob-dir": "blobs",
	})
	set(t, c.Flags(), map[string]string{"retry-times": "7", "retry-delay": "3s"})
	c.Foreign = true
	std := standard()
	out, err := a.Access(std, &c, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := out.Registry
	if o.Side != image.SideSource || o.Token != "tok" || o.CertDir != "certs" || o.TLSVerify != registry.Never || !o.ForeignURLs || out.SharedBlobs != "blobs" {
		t.Errorf("Access = %+v", out)
	}
	if o.Retry.Times != 7 || o.Retry.Delay != 3*time.Second || o.Trace != nil || !strings.HasPrefix(o.UserAgent, "imgtools/") {
		t.Errorf("Access = %+v", o)
	}
	if out.Stdin != std.In || out.Stdout != std.Out {
		t.Errorf("the stream is not that of the tool")
	}
	cred, err := o.Credential(t.Context(), "r.example/x")
	if err != nil || cred.Username != "me" || cred.Password != "pass:word" {
		t.Errorf("Credential = %q, %v; want what --src-creds says", cred.Username, err)
	}
}

// No option must be as good as its default; 0 retries are none, and not the
// default.
func TestAccessDefaults(t *testing.T) {
	for times, want := range map[int]int{DefaultRetries: DefaultRetries, 0: -1, 1: 1} {
		c := NewCommonConfig()
		c.RetryTimes = times
		out, err := (&AccessConfig{}).Access(standard(), &c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if out.Registry.Retry.Times != want || out.Registry.TLSVerify != registry.Unset {
			t.Errorf("%d retries: %+v; want %d", times, out.Registry.Retry, want)
		}
	}
	c := NewCommonConfig()
	c.Debug = true
	std := standard()
	std.EnableDebug()
	out, err := (&AccessConfig{TLSVerify: cli.Tri{Given: true, Value: true}}).Access(std, &c, nil)
	if err != nil || out.Registry.TLSVerify != registry.Always {
		t.Fatalf("Access = %v, %v", out, err)
	}
	out.Registry.Trace("GET", "https://r.example/v2/", 200, time.Second)
	if s := std.Err.(*bytes.Buffer).String(); !strings.Contains(s, "GET https://r.example/v2/: 200 in 1s") {
		t.Errorf("--debug tells %q", s)
	}
}

func text(s string) *string { return &s }

// What cannot be meant is wrong use, with its exit code, and is found out
// before anything is asked of anybody. A password must not be in the message.
func TestAccessRefuses(t *testing.T) {
	for name, change := range map[string]func(*AccessConfig, *CommonConfig){
		"both creds and none": func(a *AccessConfig, _ *CommonConfig) { a.Explicit.Creds, a.Explicit.NoCreds = text("u:secret"), true },
		"creds and name": func(a *AccessConfig, _ *CommonConfig) {
			a.Explicit.Creds, a.Explicit.Username = text("u:secret"), text("u")
		},
		"password alone":  func(a *AccessConfig, _ *CommonConfig) { a.Explicit.Password = text("secret") },
		"empty creds":     func(a *AccessConfig, _ *CommonConfig) { a.Explicit.Creds = text("") },
		"no user":         func(a *AccessConfig, _ *CommonConfig) { a.Explicit.Creds = text(":secret") },
		"retries below 0": func(_ *AccessConfig, c *CommonConfig) { c.RetryTimes = -1 },
		"delay below 0":   func(_ *AccessConfig, c *CommonConfig) { c.RetryDelay = -1 },
		"timeout below 0": func(_ *AccessConfig, c *CommonConfig) { c.Timeout = -1 },
	} {
		a, c := AccessConfig{}, NewCommonConfig()
		change(&a, &c)
		_, err := a.Access(standard(), &c, nil)
		if !errors.Is(err, cli.ErrUsage) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: Access = %v; want a usage error", name, err)
		}
	}
}

func TestContext(t *testing.T) {
	c := NewCommonConfig()
	ctx, cancel := c.Context(t.Context(), standard())
	defer cancel()
	if _, ok := ctx.Deadline(); ok {
		t.Errorf("without --timeout there is a deadline")
	}
	c.Timeout = 1
	ctx, cancel = c.Context(t.Context(), standard())
	defer cancel()
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("after --timeout: %v", ctx.Err())
	}
}

// keeper keeps the events that it is to show.
type keeper struct{ events []cli.Event }

func (k *keeper) Event(e cli.Event) { k.events = append(k.events, e) }
func (k *keeper) Close() error      { return nil }

// The renderers know the kinds by their own names for them; a retry tells on
// which side it is.
func TestNotify(t *testing.T) {
	k := &keeper{}
	n := Notify(k, "docker://r.example/x")
	d := oci.Descriptor{MediaType: "a/b", Digest: digest.FromString("x"), Size: 9}
	n.Send(image.Event{Kind: image.EventPlan, Blob: d, Blobs: 3, Bytes: 100})
	n.Send(image.Event{Kind: image.EventProgress, Blob: d, Done: 4})
	n.Send(image.Event{Kind: image.EventRetry, Side: image.SideSource, Attempt: 1, Attempts: 2, Wait: time.Second, Text: "reset"})
	n.Send(image.Event{Kind: image.EventCommit, Blob: d})
	want := []cli.Event{
		{Kind: cli.KindPlan, Ref: "docker://r.example/x", Size: 100, Text: "3 blobs"},
		{Kind: cli.KindProgress, Digest: d.Digest.String(), MediaType: "a/b", Size: 9, Done: 4},
		{Kind: cli.KindRetry, Side: "source", Attempt: 1, Attempts: 2, Wait: time.Second, Text: "reset"},
		{Kind: cli.KindCommit, Ref: "docker://r.example/x", Digest: d.Digest.String(), MediaType: "a/b", Size: 9},
	}
	for i, e := range k.events {
		if e != want[i] {
			t.Errorf("event %d = %+v; want %+v", i, e, want[i])
		}
	}
	for kind, want := range map[image.Kind]string{
		image.EventPlan: cli.KindPlan, image.EventHave: cli.KindHave, image.EventCopy: cli.KindCopy, image.EventProgress: cli.KindProgress,
		image.EventDone: cli.KindDone, image.EventRetry: cli.KindRetry, image.EventSpool: cli.KindSpool, image.EventWarning: cli.KindWarning,
		image.EventCommit: cli.KindCommit, image.EventDelete: cli.KindDelete, image.EventQuota: cli.KindQuota,
	} {
		if string(kind) != want {
			t.Errorf("the engine says %q, the renderers know %q", kind, want)
		}
	}
}

// An error names its place once, however many hands it goes through.
func TestAt(t *testing.T) {
	n, err := transport.Parse("dir:" + t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := At("source", n, "open", nil); err != nil {
		t.Errorf("At(nil) = %v", err)
	}
	inner := At("source", n, "open", errors.New("x"))
	if want := "source " + n.String() + ": open: x"; inner.Error() != want {
		t.Errorf("At = %v; want %s", inner, want)
	}
	for _, err := range []error{inner, cli.Usagef("y")} {
		if got := At("destination", n, "write", err); got != err {
			t.Errorf("At(%v) = %v", err, got)
		}
	}
}

func TestParsePlatforms(t *testing.T) {
	ps, err := ParsePlatforms([]string{"linux/amd64", "linux/arm/v7"})
	if err != nil || len(ps) != 2 || ps[1].Variant != "v7" {
		t.Errorf("ParsePlatforms = %v, %v", ps, err)
	}
	if _, err := ParsePlatforms([]string{"linux/amd64", "amd64"}); !errors.Is(err, cli.ErrUsage) {
		t.Errorf("ParsePlatforms(amd64) = %v; want a usage error", err)
	}
}
