package template

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A digester is what github.com/opencontainers/go-digest's Digest is, "sha256:..."
// in a type of its own.
type digester interface {
	String() string
	Encoded() string
}

// An algorithm is a digest's, with the method that it has there.
type algorithm string

func (a algorithm) String() string { return string(a) }

// methods are the methods of types that data has, as functions of the receiver.
// Not there are those for programs: of encoding, and with several results.
var methods = []struct {
	name string
	fn   any
}{
	{"Add", time.Time.Add},
	{"AddDate", time.Time.AddDate},
	{"After", time.Time.After},
	{"Before", time.Time.Before},
	{"Compare", time.Time.Compare},
	{"Day", time.Time.Day},
	{"Equal", time.Time.Equal},
	{"Format", time.Time.Format},
	{"Hour", time.Time.Hour},
	{"IsDST", time.Time.IsDST},
	{"IsZero", time.Time.IsZero},
	{"Local", time.Time.Local},
	{"Location", time.Time.Location},
	{"Minute", time.Time.Minute},
	{"Month", time.Time.Month},
	{"Nanosecond", time.Time.Nanosecond},
	{"Round", time.Time.Round},
	{"Second", time.Time.Second},
	{"Sub", time.Time.Sub},
	{"Truncate", time.Time.Truncate},
	{"UTC", time.Time.UTC},
	{"Unix", time.Time.Unix},
	{"UnixMicro", time.Time.UnixMicro},
	{"UnixMilli", time.Time.UnixMilli},
	{"UnixNano", time.Time.UnixNano},
	{"Weekday", time.Time.Weekday},
	{"Year", time.Time.Year},
	{"YearDay", time.Time.YearDay},
	{"Abs", time.Duration.Abs},
	{"Hours", time.Duration.Hours},
	{"Microseconds", time.Duration.Microseconds},
	{"Milliseconds", time.Duration.Milliseconds},
	{"Minutes", time.Duration.Minutes},
	{"Nanoseconds", time.Duration.Nanoseconds},
	{"Round", time.Duration.Round},
	{"Seconds", time.Duration.Seconds},
	{"Truncate", time.Duration.Truncate},
}

// method finds the method of a value: String of any, those of a digest, and what
// the table has for its type.
func method(v reflect.Value, name string) (callee, bool) {
	x := v.Interface()
	if v.CanAddr() {
		x = v.Addr().Interface()
	}
	if s, ok := x.(fmt.Stringer); ok && name == "String" {
		return callee{name: name, fn: reflect.ValueOf(s.String)}, true
	}
	if d, ok := x.(digester); ok {
		switch name {
		case "Encoded", "Hex":
			return callee{name: name, fn: reflect.ValueOf(d.Encoded)}, true
		case "Algorithm":
			fn := func() algorithm { return algorithm(strings.TrimSuffix(d.String(), ":"+d.Encoded())) }
			return callee{name: name, fn: reflect.ValueOf(fn)}, true
		}
	}
	for _, m := range methods {
		if fn := reflect.ValueOf(m.fn); m.name == name && fn.Type().In(0) == v.Type() {
			return callee{name, fn, []reflect.Value{v}}, true
		}
	}
	return callee{}, false
}
