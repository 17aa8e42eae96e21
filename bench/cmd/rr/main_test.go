package main

import (
	"reflect"
	"syscall"
	"testing"
)

func TestSplit(t *testing.T) {
	got := split([]string{"a", "b|c", "|", "d", "|", "e", "f"})
	if want := [][]string{{"a", "b|c"}, {"d"}, {"e", "f"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("split = %q; want %q", got, want)
	}
}

func TestCode(t *testing.T) {
	for ws, want := range map[syscall.WaitStatus]int{0: 0, 7 << 8: 7, 9: 137} {
		if got := code(ws); got != want {
			t.Errorf("code(%#x) = %d; want %d", int(ws), got, want)
		}
	}
}
