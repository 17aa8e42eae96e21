// Command rr runs a command, or several joined by pipes, and reports what the
// kernel says they used:
//
//	rr OUT COMMAND [ARG...] ['|' COMMAND [ARG...]]...
//
// Standard output of the last command goes to the file OUT. On descriptor 3 rr
// writes one line: wall, user and system time in microseconds (the times of a
// pipe's commands are added), peak resident memory in KiB (the largest of the
// commands), exit status (the first that is not 0), blocks written.
//
// It is small on purpose, and a program of its own: the ru_maxrss of a child
// starts at the size of the process that started it.
package main

import (
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		os.Exit(2)
	}
	runtime.LockOSThread() // a child's Pdeathsig is tied to the thread that made it
	out, err := syscall.Open(os.Args[1], syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		os.Exit(2)
	}
	syscall.CloseOnExec(3)
	start := time.Now()
	n, ok := spawn(split(os.Args[2:]), out)
	line := collect(n, ok, start)
	if _, err := syscall.Write(3, []byte(line)); err != nil {
		os.Exit(2)
	}
}

// split cuts the arguments at each "|".
func split(args []string) [][]string {
	out := [][]string{nil}
	for _, a := range args {
		if a == "|" {
			out = append(out, nil)
			continue
		}
		out[len(out)-1] = append(out[len(out)-1], a)
	}
	return out
}

// spawn starts the commands and returns how many run, and whether all do.
func spawn(stages [][]string, out int) (int, bool) {
	in := 0
	for i, argv := range stages {
		next, w := 0, out
		if i < len(stages)-1 {
			var p [2]int
			if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
				return i, false
			}
			next, w = p[0], p[1]
		}
		attr := &syscall.ProcAttr{Env: syscall.Environ(), Files: []uintptr{uintptr(in), uintptr(w), 2},
			Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
		_, err := syscall.ForkExec(argv[0], argv, attr)
		if in != 0 {
			_ = syscall.Close(in)
		}
		_ = syscall.Close(w)
		if err != nil {
			return i, false
		}
		in = next
	}
	return len(stages), true
}

// collect waits for n commands and returns the line for descriptor 3.
func collect(n int, ok bool, start time.Time) string {
	var user, sys, rss, blocks int64
	status := 0
	if !ok {
		status = 127
	}
	for range n {
		var ws syscall.WaitStatus
		var ru syscall.Rusage
		if _, err := syscall.Wait4(-1, &ws, 0, &ru); err != nil {
			status = 126
			break
		}
		user += ru.Utime.Nano() / 1000
		sys += ru.Stime.Nano() / 1000
		rss = max(rss, ru.Maxrss)
		blocks += ru.Oublock
		if s := code(ws); status == 0 {
			status = s
		}
	}
	line := ""
	for _, v := range []int64{time.Since(start).Microseconds(), user, sys, rss, int64(status), blocks} {
		line += strconv.FormatInt(v, 10) + " "
	}
	return line + "\n"
}

func code(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
