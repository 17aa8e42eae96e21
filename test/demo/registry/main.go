// Registry serves an empty registry in memory on loopback until it is killed.
// Its first line of output is its address. With an argument, USER:PASSWORD,
// it is for that user only.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

func main() {
	o := registrytest.Options{TagDelete: true, Referrers: true}
	if len(os.Args) > 1 {
		user, password, _ := strings.Cut(os.Args[1], ":")
		o.Auth = registrytest.Auth{Scheme: registrytest.Bearer, Users: map[string]string{user: password}}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		fmt.Println(l.Addr())
		err = http.Serve(l, registrytest.New(o))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
