package cli

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// A Value is what a flag sets. Set is called once for each time the flag is
// given, with "true" for a switch without "=". An error of Set should say what
// was wanted; the parser names the flag and the text given.
type Value interface {
	Set(string) error
	String() string
}

// Abilities that a Value may have beside.
type (
	repeater interface{ repeats() bool }     // may be given several times
	chooser  interface{ choices() []string } // takes one of these words
	ternary  interface{ ternary() }          // a switch that documents its "=BOOL"
)

// String returns a Value that stores the text as it is.
func String(p *string) Value { return (*stringValue)(p) }

type stringValue string

func (v *stringValue) Set(s string) error { *v = stringValue(s); return nil }
func (v *stringValue) String() string     { return string(*v) }

// Bool returns a Value for a switch. It takes what [strconv.ParseBool] takes.
func Bool(p *bool) Value { return (*boolValue)(p) }

type boolValue bool

func (v *boolValue) Set(s string) error {
	b, err := parseBool(s)
	if err == nil {
		*v = boolValue(b)
	}
	return err
}
func (v *boolValue) String() string { return strconv.FormatBool(bool(*v)) }

// A Tri is a switch that remembers whether it was given. Its zero value is
// "not given".
type Tri struct{ Given, Value bool }

// Or returns the value if the switch was given, else other.
func (t Tri) Or(other bool) bool {
	if t.Given {
		return t.Value
	}
	return other
}

// OptionalBool returns a Value for a switch that remembers whether it was given.
func OptionalBool(p *Tri) Value { return (*triValue)(p) }

type triValue Tri

func (v *triValue) ternary() {}
func (v *triValue) Set(s string) error {
	b, err := parseBool(s)
	if err == nil {
		*v = triValue{Given: true, Value: b}
	}
	return err
}

func (v *triValue) String() string {
	if !v.Given {
		return ""
	}
	return strconv.FormatBool(v.Value)
}

func parseBool(s string) (bool, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, errors.New("want true or false")
	}
	return b, nil
}

// Int returns a Value for a whole number, decimal or with 0x, 0o or 0b before it.
func Int(p *int) Value { return (*intValue)(p) }

type intValue int

func (v *intValue) Set(s string) error {
	n, err := strconv.ParseInt(s, 0, strconv.IntSize)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return errors.New("number too large")
	case err != nil:
		return errors.New("want a whole number")
	}
	*v = intValue(n)
	return nil
}
func (v *intValue) String() string { return strconv.Itoa(int(*v)) }

// Duration returns a Value for a time span in Go's notation: 300ms, 30s, 1h30m.
func Duration(p *time.Duration) Value { return (*durationValue)(p) }

type durationValue time.Duration

func (v *durationValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return errors.New("want a time span such as 30s or 5m")
	}
	*v = durationValue(d)
	return nil
}
func (v *durationValue) String() string { return time.Duration(*v).String() }

// List returns a Value that may be given several times and takes several
// elements parted by commas each time. What *p holds before is the default: the
// first Set replaces it.
func List(p *[]string) Value { return &listValue{p: p, comma: true} }

// Array is List without the commas: one element each time.
func Array(p *[]string) Value { return &listValue{p: p} }

type listValue struct {
	p          *[]string
	comma, set bool
}

func (v *listValue) repeats() bool { return true }
func (v *listValue) Set(s string) error {
	if !v.set {
		*v.p, v.set = nil, true
	}
	switch {
	case !v.comma:
		*v.p = append(*v.p, s)
	case s != "":
		*v.p = append(*v.p, strings.Split(s, ",")...)
	}
	return nil
}
func (v *listValue) String() string { return strings.Join(*v.p, ",") }

// Enum returns a Value that takes one of the given words.
func Enum(p *string, words ...string) Value { return &enumValue{p: p, words: words} }

type enumValue struct {
	p     *string
	words []string
}

func (v *enumValue) choices() []string { return v.words }
func (v *enumValue) Set(s string) error {
	for _, w := range v.words {
		if s == w {
			*v.p = s
			return nil
		}
	}
	return errors.New("want " + orList(v.words))
}
func (v *enumValue) String() string { return *v.p }

// Func returns a Value that hands each text to set. It may be given several
// times; what that means is up to set.
func Func(set func(string) error) Value { return funcValue(set) }

type funcValue func(string) error

func (v funcValue) repeats() bool      { return true }
func (v funcValue) Set(s string) error { return v(s) }
func (v funcValue) String() string     { return "" }

// stop returns the Value of a switch that ends parsing with err.
func stop(err error) Value { return stopValue{err} }

type stopValue struct{ err error }

func (v stopValue) String() string { return "" }
func (v stopValue) Set(s string) error {
	b, err := parseBool(s)
	if b {
		return v.err
	}
	return err
}

// completionValue ends parsing with the wish for a script.
type completionValue struct{}

func (*completionValue) choices() []string { return shells() }
func (*completionValue) String() string    { return "" }
func (*completionValue) Set(s string) error {
	for _, name := range shells() {
		if s == name {
			return completionWish{s}
		}
	}
	return errors.New("want " + orList(shells()))
}

// orList writes words as "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
