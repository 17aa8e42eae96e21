package tool

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/transport/registry"
)

// A LimitsConfig says how much may go over the network at a time. Both sides of
// a copy share it.
type LimitsConfig struct {
	Rate      float64       // requests a second; 0: no limit
	Bandwidth int64         // bytes a second, both ways together; 0: no limit
	ChunkSize int64         // bytes of a blob that one request uploads; 0: all
	Stall     time.Duration // silence that ends a request; 0: the default
	Ranges    int           // requests that read one large blob at a time; 0: one

	requests, bytes *registry.Limiter
}

func (l *LimitsConfig) flags() []cli.Flag {
	return []cli.Flag{
		{Name: "rate", Arg: "N", Help: "Send at most N requests a second, to both sides together; a fraction will do.", Value: rateValue{&l.Rate}},
		{Name: "bwlimit", Arg: "SIZE", Help: "Move at most SIZE bytes a second, both ways together, such as 500K, 5M or 1G.", Value: sizeValue{&l.Bandwidth}},
		{Name: "chunk-size", Arg: "SIZE", Help: "Upload a blob in requests of SIZE bytes. Without the option it goes in one, and in several only if the registry refuses that.", Value: sizeValue{&l.ChunkSize}},
		{Name: "ranges", Arg: "N", Help: "Read a blob of more than 64 MiB by N requests at once: faster from far away, where one connection does not fill the line.", Value: cli.Int(&l.Ranges)},
		{Name: "stall-timeout", Arg: "DURATION", Help: "Give a request up, and try again, when the network was silent for so long; 60s without the option.", Value: cli.Duration(&l.Stall)},
	}
}

func (l *LimitsConfig) check() error {
	switch {
	case l.Stall < 0:
		return cli.Usagef("--stall-timeout %s: want 0 or more", l.Stall)
	case l.Ranges < 0:
		return cli.Usagef("--ranges %d: want 0 or more", l.Ranges)
	}
	return nil
}

// rate and bandwidth are the same for all who ask.
func (l *LimitsConfig) rate() *registry.Limiter {
	if l.requests == nil {
		l.requests = registry.NewLimiter(l.Rate)
	}
	return l.requests
}

func (l *LimitsConfig) bandwidth() *registry.Limiter {
	if l.bytes == nil {
		l.bytes = registry.NewLimiter(float64(l.Bandwidth))
	}
	return l.bytes
}

// rateValue is a number above 0, not always whole.
type rateValue struct{ p *float64 }

func (v rateValue) Set(s string) error {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0) || math.IsInf(f, 0) {
		return fmt.Errorf("want a number above 0, not %q", s)
	}
	*v.p = f
	return nil
}

func (v rateValue) String() string { return "" }

// sizeValue is a number of bytes above 0, with K, M, G or T for powers of 1024.
type sizeValue struct{ p *int64 }

func (v sizeValue) Set(s string) error {
	n, err := parseSize(s)
	if err == nil {
		*v.p = n
	}
	return err
}

func (v sizeValue) String() string { return "" }

func parseSize(s string) (int64, error) {
	digits, shift := s, 0
	if i := len(s) - 1; i > 0 {
		if p := strings.IndexByte("KMGT", s[i]&^0x20); p >= 0 {
			digits, shift = s[:i], 10*(p+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n == 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("want a number of bytes above 0, such as 500K, 5M or 1G, not %q", s)
	}
	return int64(n) << shift, nil
}
