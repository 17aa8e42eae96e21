// Package report keeps the results of runs, reduces them and prints tables.
package report

import (
	"cmp"
	"slices"
)

// Stats are the figures of a row of numbers.
type Stats struct{ Median, Min, Max float64 }

// Reduce returns the stats of v, zeros if it is empty; v is not changed.
func Reduce(v []float64) Stats {
	if len(v) == 0 {
		return Stats{}
	}
	s := slices.Clone(v)
	slices.SortFunc(s, cmp.Compare[float64])
	mid := s[len(s)/2]
	if len(s)%2 == 0 {
		mid = (s[len(s)/2-1] + mid) / 2
	}
	return Stats{mid, s[0], s[len(s)-1]}
}
