package template

import (
	"errors"
	"fmt"
	"reflect"
)

// class returns the widest kind of a basic value's sort, and Invalid for others.
func class(v reflect.Value) reflect.Kind {
	switch k := v.Kind(); {
	case isInt(k):
		return reflect.Int64
	case isUint(k):
		return reflect.Uint64
	case k == reflect.Float32 || k == reflect.Float64:
		return reflect.Float64
	case k == reflect.Complex64 || k == reflect.Complex128:
		return reflect.Complex128
	case k == reflect.Bool || k == reflect.String:
		return k
	}
	return reflect.Invalid
}

func isInt(k reflect.Kind) bool     { return k >= reflect.Int && k <= reflect.Int64 }
func isUint(k reflect.Kind) bool    { return k >= reflect.Uint && k <= reflect.Uintptr }
func isInteger(k reflect.Kind) bool { return isInt(k) || isUint(k) }

func negate(b bool, err error) (bool, error) { return !b, err }

// eq reports whether a equals one of bs.
func eq(a reflect.Value, bs ...reflect.Value) (bool, error) {
	if len(bs) == 0 {
		return false, errors.New("nothing to compare with")
	}
	for _, b := range bs {
		if same, err := equal(concrete(a), concrete(b)); same || err != nil {
			return same, err
		}
	}
	return false, nil
}

// equal compares two values of one sort; integers are one sort. Nothing equals
// no basic value.
func equal(a, b reflect.Value) (bool, error) {
	ka, kb := class(a), class(b)
	switch {
	case ka != kb && isInteger(ka) && isInteger(kb):
		return compareIntegers(a, b) == 0, nil
	case ka != kb && (!a.IsValid() || !b.IsValid()):
		return false, nil
	case ka != kb:
		return false, mismatch(a, b)
	case ka == reflect.Invalid:
		return identical(a, b)
	}
	// The classes are equal, the types need not be.
	typ := basic(ka)
	return a.Convert(typ).Interface() == b.Convert(typ).Interface(), nil
}

// basic returns the type of a class.
func basic(class reflect.Kind) reflect.Type {
	switch class {
	case reflect.Int64:
		return reflect.TypeFor[int64]()
	case reflect.Uint64:
		return reflect.TypeFor[uint64]()
	case reflect.Float64:
		return reflect.TypeFor[float64]()
	case reflect.Complex128:
		return reflect.TypeFor[complex128]()
	case reflect.Bool:
		return reflect.TypeFor[bool]()
	}
	return reflect.TypeFor[string]()
}

// identical compares values that are not basic: nils, and what Go's == does.
func identical(a, b reflect.Value) (bool, error) {
	switch {
	case a.IsValid() && b.IsValid() && a.Kind() != b.Kind():
		return false, mismatch(a, b)
	case isNil(a) || isNil(b):
		return isNil(a) == isNil(b), nil
	case !b.Type().Comparable():
		return false, fmt.Errorf("cannot compare %s", b.Type())
	}
	return a.Interface() == b.Interface(), nil
}

func isNil(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Map, reflect.Pointer, reflect.Slice, reflect.Func, reflect.Chan:
		return v.IsNil()
	}
	return false
}

func mismatch(a, b reflect.Value) error {
	return fmt.Errorf("cannot compare %s and %s", a.Type(), b.Type())
}

// less reports whether a is below b, for numbers and strings.
func less(a, b reflect.Value) (bool, error) {
	a, b = concrete(a), concrete(b)
	ka, kb := class(a), class(b)
	switch {
	case ka == reflect.Invalid || kb == reflect.Invalid:
		return false, errors.New("only numbers and strings have an order")
	case isInteger(ka) && isInteger(kb):
		return compareIntegers(a, b) < 0, nil
	case ka != kb:
		return false, mismatch(a, b)
	case ka == reflect.Float64:
		return a.Float() < b.Float(), nil
	case ka == reflect.String:
		return a.String() < b.String(), nil
	}
	return false, errors.New("only numbers and strings have an order")
}

func lessOrEqual(a, b reflect.Value) (bool, error) {
	below, err := less(a, b)
	if below || err != nil {
		return below, err
	}
	return eq(a, b)
}

// compareIntegers compares integers of any type by value.
func compareIntegers(a, b reflect.Value) int {
	x, negX := magnitude(a)
	y, negY := magnitude(b)
	switch {
	case negX != negY && negX, negX == negY && x < y:
		return -1
	case negX == negY && x == y:
		return 0
	}
	return 1
}

// magnitude returns an integer's bits, which order those of one sign, and
// whether it is negative.
func magnitude(v reflect.Value) (bits uint64, negative bool) {
	if isInt(v.Kind()) {
		return uint64(v.Int()), v.Int() < 0
	}
	return v.Uint(), false
}
