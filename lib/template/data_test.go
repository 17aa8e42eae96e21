package template

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/opencontainers/go-digest"
)

// The data of the tests: what images are described with, and each kind of value
// that reflection tells apart.

type base struct {
	Name   string
	Number int
}

type Absent struct{ Gone string }

type inner struct {
	Key    string
	Value  any
	Next   *inner
	secret string
}

// An addressed has its method on the pointer only: it counts where a value is
// one of a list's or of what a pointer points to.
type addressed struct{ N int }

func (a *addressed) String() string { return fmt.Sprintf("<%d>", a.N) }

type word string

type pair struct{ A, B int }

type sample struct {
	base
	*Absent
	Digest  digest.Digest
	Invalid digest.Digest
	Created *time.Time
	Never   *time.Time
	When    time.Time
	Took    time.Duration
	Word    word
	Words   []word
	Mixed   []any

	Labels  map[string]string
	NoMap   map[string]string
	Ints    map[int]string
	Uints   map[uint8]string
	Floats  map[float64]string `json:"-"`
	Bools   map[bool]string    `json:"-"`
	Digests map[digest.Digest]string
	Nested  map[string]map[string]int
	Free    map[string]any
	Odds    map[pair]string `json:"-"`
	Anys    map[any]string  `json:"-"`

	Layers  []digest.Digest
	Strings []string
	NoList  []string
	Inners  []inner
	Links   []*inner
	Array   [3]int
	List    []addressed

	Any       any
	NoAny     any
	Err       error
	Stringer  fmt.Stringer
	Addressed addressed
	Pointer   *addressed
	NoPointer *addressed
	Double    **inner
	Pair      pair
	Pairs     []pair
	Odd       struct{ X any }

	True, False        bool
	I8                 int8
	I64                int64
	Negative           int
	U8                 uint8
	U64                uint64
	F32                float32
	F64, NaN, Zero     float64   `json:"-"`
	Complex            complex64 `json:"-"`
	Markup, Code, Text string

	Done chan int      `json:"-"`
	Chan chan int      `json:"-"`
	Func func() string `json:"-"`

	hidden string
}

func newSample() *sample {
	when := time.Date(2026, time.February, 3, 4, 5, 6, 789, time.UTC)
	done := make(chan int)
	close(done)
	link := &inner{Key: "linked", Value: 7}
	return &sample{
		base:    base{"example", 42},
		Digest:  digest.FromString("content"),
		Created: &when,
		When:    when.Add(36 * time.Hour),
		Took:    90 * time.Second,
		Word:    "Word",
		Words:   []word{"a", "b"},
		Mixed:   []any{"x", word("y")},
		Labels:  map[string]string{"zoo": "last", "an.other": "<b>", "key": "value"},
		Ints:    map[int]string{3: "three", -1: "minus", 20: "twenty"},
		Uints:   map[uint8]string{200: "b", 7: "a"},
		Floats:  map[float64]string{2.5: "b", -1: "a", 10: "c"},
		Bools:   map[bool]string{true: "yes", false: "no"},
		Digests: map[digest.Digest]string{digest.FromString("a"): "a"},
		Nested:  map[string]map[string]int{"a": {"b": 5}},
		Free:    map[string]any{"n": 1, "s": "str", "m": map[string]any{"deep": []any{1, "two"}}, "nil": nil},
		Odds:    map[pair]string{{10, 0}: "ten", {2, 0}: "two"},
		Anys:    map[any]string{1: "one", "two": "2"},
		Layers:  []digest.Digest{digest.FromString("1"), digest.FromString("2")},
		Strings: []string{"one", "two", "three"},
		Inners:  []inner{{Key: "first", Value: "v", Next: link}, {Key: "second", secret: "s"}},
		Links:   []*inner{link, nil},
		Array:   [3]int{1, 2, 3},
		List:    []addressed{{1}, {2}},
		Any:     inner{Key: "any"}, Err: errors.New("an error"), Stringer: when.Month(),
		Addressed: addressed{8}, Pointer: &addressed{9}, Double: &link,
		Pair: pair{1, 2}, Pairs: []pair{{1, 2}, {2, 1}}, Odd: struct{ X any }{[]int{}},
		True: true, I8: -8, I64: 64, Negative: -3, U8: 8, U64: math.MaxUint64, F32: 1.5, F64: 2.25, NaN: math.NaN(), Complex: 1 + 2i,
		Markup: "<a href=\"x\">'&'\x00</a>", Code: "it's \"x\" = <y> & \\ \n\x7f é \u00a0 \xff", Text: "hello big-world of_go éa",
		Done: done, Chan: make(chan int), Func: func() string { return "called" },
		hidden: "hidden",
	}
}
