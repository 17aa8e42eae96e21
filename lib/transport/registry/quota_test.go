package registry

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/transport/registry/registrytest"
)

// What registries are known to send, and what makes no sense.
func TestParseQuota(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		header string // names and values, with | between
		want   string // the text, and the reset; "" for none
	}{
		{"RateLimit-Limit|100;w=21600|RateLimit-Remaining|76;w=21600", "76 more requests (of 100 in 6h0m0s), -1ns"},
		{"X-RateLimit-Limit|5000|X-RateLimit-Remaining|4999|X-RateLimit-Reset|1800000060", "4999 more requests (of 5000), 1m0s"},
		{"RateLimit-Limit|100, 100;w=60|RateLimit-Remaining|0|RateLimit-Reset|50", "0 more requests (of 100), 50s"},
		{"RateLimit|limit=100, remaining=50, reset=5", "50 more requests (of 100), 5s"},
		{"RateLimit|remaining=50", "50 more requests, -1ns"},
		{"RateLimit-Remaining|7", "7 more requests, -1ns"},
		{"RateLimit-Remaining|7|X-RateLimit-Remaining|8", "7 more requests, -1ns"},
		{"RateLimit-Remaining|0|RateLimit-Reset|1700000000", "0 more requests, 0s"},
		{"RateLimit-Remaining|0|RateLimit-Reset|1800000060|Date|" + now.Add(20*time.Second).UTC().Format(http.TimeFormat), "0 more requests, 40s"},
		{"RateLimit-Remaining|0|RateLimit-Reset|9223372036854775807", "0 more requests, 876000h0m0s"},
		{"", ""},
		{"RateLimit-Limit|100", ""},
		{"RateLimit-Remaining|-1", ""},
		{"RateLimit-Remaining|101|RateLimit-Limit|100", ""},
		{"RateLimit-Remaining|1e3", ""},
		{"RateLimit-Remaining|99999999999999999999", ""},
		{"RateLimit-Remaining|7;w=x", ""},
		{"RateLimit-Remaining|7;x=1", ""},
		{"RateLimit-Remaining|7|RateLimit-Limit|unlimited", ""},
		{"RateLimit-Remaining|7|RateLimit-Reset|soon", ""},
		{"RateLimit|limit=100, remaining=50, remaining=60", ""},
		{"RateLimit|nonsense", ""},
		{`RateLimit|"default";r=50;t=30`, ""},
	} {
		h := http.Header{}
		for parts := strings.Split(tt.header, "|"); len(parts) > 1; parts = parts[2:] {
			h.Set(parts[0], parts[1])
		}
		got := ""
		if q, ok := parseQuota(h, now); ok {
			got = fmt.Sprintf("%v, %v", q, q.reset)
		}
		if got != tt.want {
			t.Errorf("parseQuota(%q) = %q; want %q", tt.header, got, tt.want)
		}
	}
}

// Whatever a server sends, it is a sensible quota or none.
func FuzzParseQuota(f *testing.F) {
	f.Add("100;w=21600", "76;w=21600", "", "")
	f.Add("5000", "0", "1800000060", "")
	f.Add("", "", "", "limit=100, remaining=50, reset=5")
	f.Fuzz(func(t *testing.T, limit, remaining, reset, all string) {
		h := http.Header{"Ratelimit-Limit": {limit}, "Ratelimit-Remaining": {remaining}, "Ratelimit-Reset": {reset}, "Ratelimit": {all}}
		q, ok := parseQuota(h, time.Unix(1_800_000_000, 0))
		if ok && (q.remaining < 0 || q.limit < -1 || q.limit >= 0 && q.remaining > q.limit || q.window < 0 || q.reset < -1) {
			t.Errorf("parseQuota(%q, %q, %q, %q) = %+v", limit, remaining, reset, all, q)
		}
		if strings.ContainsFunc(q.String(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q would reach the terminal", q.String())
		}
	})
}

// counting answers every request with a quota that goes down by one.
func counting(s *registrytest.Registry, limit, from int, more ...string) {
	left := from + 1
	s.Inject(registrytest.On("", "/v2/**", registrytest.Edit(func(a *registrytest.Answer) {
		left = max(left-1, 0)
		a.Header.Set("RateLimit-Limit", fmt.Sprintf("%d;w=21600", limit))
		a.Header.Set("RateLimit-Remaining", fmt.Sprintf("%d;w=21600", left))
		for i := 0; i+1 < len(more); i += 2 {
			a.Header.Set(more[i], more[i+1])
		}
	})))
}

// The user hears of a quota at the first request, and when it comes to an end:
// not with each of a thousand blobs.
func TestQuotaIsTold(t *testing.T) {
	for _, tt := range []struct {
		from int
		want []string
	}{
		{15, []string{"grants 15 more requests (of 100 in 6h0m0s)", "grants 9 more requests (of 100 in 6h0m0s)"}},
		{9, []string{"grants 9 more requests (of 100 in 6h0m0s)"}},
		{90, []string{"grants 90 more requests (of 100 in 6h0m0s)"}},
	} {
		m := makeImage(1, 10)
		s := registrytest.Start(t, registrytest.Options{})
		m.store(s.Registry, "a", "v1")
		counting(s.Registry, 100, tt.from)
		o, e := quick(), &events{}
		o.Notify, o.Side = e.notify, image.SideSource
		src := source(t, s.Addr+"/a:v1", o)
		for range 20 {
			if _, err := readBlob(src, m.config); err != nil {
				t.Fatal(err)
			}
		}
		list := e.of(image.EventQuota)
		if len(list) != len(tt.want) {
			t.Errorf("from %d: %d events %+v; want %d", tt.from, len(list), list, len(tt.want))
			continue
		}
		for i, x := range list {
			if x.Side != image.SideSource || x.Text != "registry "+s.Addr+" "+tt.want[i] {
				t.Errorf("from %d: event %+v; want %q", tt.from, x, tt.want[i])
			}
		}
	}
}

// When nothing is left and the registry says until when, requests wait for
// that, within what they wait for Retry-After; longer they do not.
func TestQuotaIsRespected(t *testing.T) {
	for _, tt := range []struct {
		reset    string
		requests int
		took     time.Duration
	}{
		{"20", 2, 20 * time.Second},
		{"20", 3, 40 * time.Second},
		{"60", 3, 60 * time.Second}, // 120 s would be more than the budget
		{"3600", 3, 0},
		{"0", 9, 0},
	} {
		bubble(t, quick(), func(t *testing.T, s *registrytest.Registry, o Options) {
			m := makeImage(1, 10)
			m.store(s, "a", "v1")
			counting(s, 100, 0, "RateLimit-Reset", tt.reset)
			e := &events{}
			o.Notify = e.notify
			src, began := source(t, "127.0.0.1:5000/a:v1", o), time.Now()
			for range tt.requests {
				if _, err := src.Manifest(context.Background(), ""); err != nil {
					t.Error(err)
				}
			}
			if took := time.Since(began); took < tt.took || took > tt.took+time.Second {
				t.Errorf("reset in %s: %d requests took %v; want %v", tt.reset, tt.requests, took, tt.took)
			}
			if n := len(e.of(image.EventQuota)); n > 1+tt.requests {
				t.Errorf("reset in %s: %d events", tt.reset, n)
			}
			src.Close()
		})
	}
}

// A refusal without Retry-After is as good as one with it if the quota says
// when there will be more.
func TestQuotaInsteadOfRetryAfter(t *testing.T) {
	for reset, want := range map[string]string{"30": "", "7200": "the server asks to wait 2h0m0s, longer than 1m0s"} {
		bubble(t, quick(), func(t *testing.T, s *registrytest.Registry, o Options) {
			m := makeImage(1, 10)
			m.store(s, "a", "v1")
			s.Inject(registrytest.On("GET", "**", registrytest.Reply(429, "", "", "X-RateLimit-Remaining", "0", "X-RateLimit-Limit", "5", "X-RateLimit-Reset", reset)).Times(1))
			src, began := source(t, "127.0.0.1:5000/a:v1", o), time.Now()
			_, err := src.Manifest(context.Background(), "")
			took := time.Since(began)
			if want == "" && (err != nil || took < 30*time.Second || took > 31*time.Second) {
				t.Errorf("%v after %v; want it there after 30 s", err, took)
			}
			if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%v; want %q", err, want)
			}
			src.Close()
		})
	}
}

// What a host that the registry sent us to says of its own quota is no reason
// to hold back from the registry.
func TestQuotaOfOthers(t *testing.T) {
	m := makeImage(1, 10)
	s := registrytest.Start(t, registrytest.Options{})
	m.store(s.Registry, "a", "v1")
	cdn := s.Open("cdn")
	s.Inject(onBlobs(registrytest.RedirectTo(cdn)), registrytest.On("", "**", registrytest.Header("RateLimit-Remaining", "0"), registrytest.Header("RateLimit-Reset", "50")).At("cdn"))
	o, e := quick(), &events{}
	o.Notify = e.notify
	if _, err := readBlob(source(t, s.Addr+"/a:v1", o), m.config); err != nil {
		t.Fatal(err)
	}
	if list := e.of(image.EventQuota); len(list) != 0 {
		t.Errorf("events %+v; want none", list)
	}
}
