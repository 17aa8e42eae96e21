package trace

import (
	"fmt"
	"sort"
	"strings"
)

// Summary says what a tool asked for.
type Summary struct {
	Requests int            `json:"requests"`
	Methods  map[string]int `json:"methods"`
	Chain    int            `json:"chain"` // longest row of requests of which none overlap: round trips in sequence
	Peak     int            `json:"peak"`  // most requests at one time
	Conns    int            `json:"conns"`
	Refused  int            `json:"refused"` // answers 4xx
	Up       int64          `json:"up"`
	Down     int64          `json:"down"`
	Protos   []string       `json:"protos"`
}

// Summarise reduces records; it sorts them by their ends.
func Summarise(recs []Record) Summary {
	sort.Slice(recs, func(i, j int) bool { return recs[i].End < recs[j].End })
	s := Summary{Requests: len(recs), Methods: map[string]int{}, Chain: chain(recs), Peak: peak(recs)}
	conns, protos := map[int64]bool{}, map[string]bool{}
	for _, r := range recs {
		s.Methods[r.Method]++
		s.Up += r.Up
		s.Down += r.Down
		conns[r.Conn] = true
		if r.Status >= 400 && r.Status < 500 {
			s.Refused++
		}
		if !protos[r.Proto] {
			protos[r.Proto] = true
			s.Protos = append(s.Protos, r.Proto)
		}
	}
	s.Conns = len(conns)
	sort.Strings(s.Protos)
	return s
}

// chain expects records sorted by their ends.
func chain(recs []Record) int {
	longest := make([]int, len(recs))
	best := 0
	for i, r := range recs {
		for j := range i {
			if recs[j].End <= r.Start {
				longest[i] = max(longest[i], longest[j])
			}
		}
		longest[i]++
		best = max(best, longest[i])
	}
	return best
}

func peak(recs []Record) int {
	type event struct {
		at float64
		by int
	}
	var events []event
	for _, r := range recs {
		events = append(events, event{r.Start, 1}, event{r.End, -1})
	}
	sort.Slice(events, func(i, j int) bool {
		if events[i].at == events[j].at {
			return events[i].by < events[j].by
		}
		return events[i].at < events[j].at
	})
	n, most := 0, 0
	for _, e := range events {
		n += e.by
		most = max(most, n)
	}
	return most
}

// String is one line: "12 requests (GET 5, HEAD 1, …), chain 4, …".
func (s Summary) String() string {
	var methods []string
	for m, n := range s.Methods {
		methods = append(methods, fmt.Sprintf("%s %d", m, n))
	}
	sort.Strings(methods)
	return fmt.Sprintf("%d requests (%s), chain %d, %d at once, %d conns, %d refused, %s",
		s.Requests, strings.Join(methods, ", "), s.Chain, s.Peak, s.Conns, s.Refused, strings.Join(s.Protos, "+"))
}
