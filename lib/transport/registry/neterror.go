package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/imgtools/imgtools/lib/image"
)

// A netError says that no answer, or only a part of one, came. It is
// image.ErrNetwork.
type netError struct {
	method string
	url    string // bare
	err    error
	secure bool // TLS was established
}

func (e *netError) Error() string        { return e.method + " " + e.url + ": " + e.err.Error() }
func (e *netError) Unwrap() error        { return e.err }
func (e *netError) Is(target error) bool { return target == image.ErrNetwork }

// passing reports whether the same request may well succeed a little later:
// not if a certificate is wrong, or there is no such host.
func (e *netError) passing() bool {
	var (
		verify *tls.CertificateVerificationError
		alert  tls.AlertError
		header tls.RecordHeaderError
		host   x509.HostnameError
		dns    *net.DNSError
	)
	switch {
	case errors.As(e.err, &verify), errors.As(e.err, &alert), errors.As(e.err, &host):
		return false
	case errors.As(e.err, &header), errors.Is(e.err, http.ErrSchemeMismatch):
		return false
	case errors.As(e.err, &dns):
		return !dns.IsNotFound
	}
	return true
}

// failure makes an error of what ended an exchange: the caller's own doing,
// our refusal, or the network. ctx is the caller's, own the exchange's.
func failure(ctx, own context.Context, method string, u *url.URL, err error, secure bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var no *refusal
	var quiet silence
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &no):
		return no
	case errors.As(context.Cause(own), &quiet):
		err = quiet
	case errors.As(err, &header) && string(header.RecordHeader[:]) == "HTTP/":
		err = http.ErrSchemeMismatch
	}
	return &netError{method, bare(u), err, secure}
}

// cut is the network error about an answer that is shorter than it has to be.
func cut(method string, u *url.URL, format string, args ...any) error {
	return &netError{method, bare(u), fmt.Errorf(format, args...), true}
}
