package delete

import (
	"errors"
	"strconv"
	"time"
)

var errAge = errors.New("want a time span such as 30d, 2w or 36h")

// parseAge reads a time span in Go's notation, before which there may be weeks
// and days: 2w, 30d, 1d12h. A day has 24 hours. It must be more than nothing.
func parseAge(s string) (time.Duration, error) {
	var sum time.Duration
	for _, unit := range []struct {
		letter byte
		length time.Duration
	}{{'w', 7 * 24 * time.Hour}, {'d', 24 * time.Hour}} {
		i := 0
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		if i == 0 || i == len(s) || s[i] != unit.letter {
			continue
		}
		n, err := strconv.ParseInt(s[:i], 10, 64)
		most := (1<<63 - 1 - sum) / unit.length
		if err != nil || n > int64(most) {
			return 0, errAge
		}
		sum += time.Duration(n) * unit.length
		s = s[i+1:]
	}
	if s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || sum+d < sum {
			return 0, errAge
		}
		sum += d
	}
	if sum <= 0 {
		return 0, errAge
	}
	return sum, nil
}
