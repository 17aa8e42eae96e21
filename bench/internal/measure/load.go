package measure

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// Busy is the processor time that this machine has used so far, without
// niced work and without waiting; 0 if the kernel does not say.
func Busy() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return parseBusy(string(b))
}

// parseBusy adds user, system, irq, softirq and steal of the first line of
// /proc/stat, which are in hundredths of a second.
func parseBusy(stat string) time.Duration {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0
	}
	var ticks int64
	for _, i := range []int{1, 3, 6, 7, 8} {
		n, _ := strconv.ParseInt(f[i], 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// WaitQuiet waits, at most limit, until others use less than 0.4 of a
// processor.
func WaitQuiet(limit time.Duration) {
	const look = 300 * time.Millisecond
	end := time.Now().Add(limit)
	for limit > 0 {
		before, start := Busy(), time.Now()
		time.Sleep(look)
		cores := (Busy() - before).Seconds() / time.Since(start).Seconds()
		if cores < 0.4 || time.Now().After(end) {
			return
		}
	}
}
