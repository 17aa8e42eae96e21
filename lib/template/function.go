package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// functions returns what a template can call: the language's own functions and
// those of the tools that this one is a drop-in for.
func functions() map[string]any {
	return map[string]any{
		"and": stopper(false),
		"or":  stopper(true),
		"not": func(v reflect.Value) bool { return !truth(v) },
		"call": func(reflect.Value, ...reflect.Value) (any, error) {
			return nil, errors.New("the data has no functions")
		},
		"index":    index,
		"slice":    slice,
		"len":      length,
		"print":    fmt.Sprint,
		"printf":   fmt.Sprintf,
		"println":  fmt.Sprintln,
		"html":     func(args ...any) string { return escapeHTML(text(args)) },
		"js":       func(args ...any) string { return escapeJS(text(args)) },
		"urlquery": func(args ...any) string { return url.QueryEscape(text(args)) },
		"eq":       eq,
		"ne":       func(a, b reflect.Value) (bool, error) { return negate(eq(a, b)) },
		"lt":       less,
		"le":       lessOrEqual,
		"gt":       func(a, b reflect.Value) (bool, error) { return negate(lessOrEqual(a, b)) },
		"ge":       func(a, b reflect.Value) (bool, error) { return negate(less(a, b)) },

		"json":     encodeJSON,
		"join":     strings.Join,
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"split":    strings.Split,
		"title":    title,
		"pad":      pad,
		"truncate": truncate,
	}
}

// index returns x[i][j]..., of maps, lists and strings.
func index(item reflect.Value, indexes ...reflect.Value) (reflect.Value, error) {
	item = concrete(item)
	if !item.IsValid() {
		return item, errors.New("of nothing")
	}
	for _, i := range indexes {
		var isNil bool
		if item, isNil = indirect(item); isNil {
			return item, errors.New("of nil")
		}
		var err error
		if item, err = element(item, concrete(i)); err != nil {
			return item, err
		}
	}
	return item, nil
}

// element returns the element at an index, or a key of a map. What a map has not
// is a zero.
func element(v, i reflect.Value) (reflect.Value, error) {
	switch v.Kind() {
	case reflect.Array, reflect.Slice, reflect.String:
		n, err := position(i, v.Len()-1)
		if err != nil {
			return v, err
		}
		return v.Index(n), nil
	case reflect.Map:
		key, err := mapKey(i, v.Type().Key())
		if err != nil {
			return v, err
		}
		if found := v.MapIndex(key); found.IsValid() {
			return found, nil
		}
		return reflect.Zero(v.Type().Elem()), nil
	}
	return v, fmt.Errorf("of %s", v.Type())
}

// mapKey makes a value a key of a map, any integer one of another integer type.
func mapKey(v reflect.Value, typ reflect.Type) (reflect.Value, error) {
	switch {
	case !v.IsValid() && typ.Kind() == reflect.Interface:
		return reflect.Zero(typ), nil
	case !v.IsValid():
		return v, fmt.Errorf("want %s, got nothing", typ)
	case v.Type().AssignableTo(typ):
		return v, nil
	case isInteger(v.Kind()) && isInteger(typ.Kind()):
		return v.Convert(typ), nil
	}
	return v, fmt.Errorf("want %s, got %s", typ, v.Type())
}

// position returns an index of at most last.
func position(v reflect.Value, last int) (int, error) {
	i := int64(-1)
	switch k := v.Kind(); {
	case isInt(k):
		i = v.Int()
	case isUint(k):
		i = int64(v.Uint())
	case !v.IsValid():
		return 0, errors.New("at nothing")
	default:
		return 0, fmt.Errorf("at %s", v.Type())
	}
	if i < 0 || i > int64(last) {
		return 0, fmt.Errorf("out of range: %d", i)
	}
	return int(i), nil
}

// slice returns x[i:j:k], of lists and strings, with as many bounds as there are.
func slice(item reflect.Value, bounds ...reflect.Value) (reflect.Value, error) {
	item, isNil := indirect(item)
	if !item.IsValid() || isNil {
		return item, errors.New("of nothing")
	}
	limit := 0
	switch k := item.Kind(); {
	case len(bounds) > 3 || k == reflect.String && len(bounds) > 2:
		return item, errors.New("too many bounds")
	case k == reflect.String:
		limit = item.Len()
	case k == reflect.Slice || k == reflect.Array:
		limit = item.Cap()
	default:
		return item, fmt.Errorf("of %s", item.Type())
	}
	at := []int{0, item.Len(), limit}
	for i, b := range bounds {
		n, err := position(concrete(b), limit)
		if err != nil {
			return item, err
		}
		at[i] = n
	}
	if at[0] > at[1] || at[1] > at[2] {
		return item, fmt.Errorf("bounds out of order: %v", at[:max(2, len(bounds))])
	}
	if len(bounds) > 2 {
		return item.Slice3(at[0], at[1], at[2]), nil
	}
	return item.Slice(at[0], at[1]), nil
}

func length(v reflect.Value) (int, error) {
	v, isNil := indirect(v)
	if !v.IsValid() || isNil {
		return 0, errors.New("of nothing")
	}
	switch v.Kind() {
	case reflect.Array, reflect.Slice, reflect.Map, reflect.String:
		return v.Len(), nil
	}
	return 0, fmt.Errorf("of %s", v.Type())
}

// text returns what printing the values one after the other gives.
func text(args []any) string {
	for i, arg := range args {
		if x, ok := printable(reflect.ValueOf(arg)); ok {
			args[i] = x
		}
	}
	return fmt.Sprint(args...)
}

func escapeHTML(s string) string {
	return strings.NewReplacer("\x00", "\uFFFD", `"`, "&#34;", "'", "&#39;", "&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// escapeJS escapes what cannot stand in a string of JavaScript, or could end it
// or the HTML element that it is in.
func escapeJS(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case strings.ContainsRune(`\'"`, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || strings.ContainsRune("<>&=", r) || r >= utf8.RuneSelf && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// encodeJSON returns a value as JSON on one line, without escapes for HTML.
func encodeJSON(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// title returns the string with its words beginning in title case. A word is of
// letters, digits and underscores; beyond ASCII only space separates.
func title(s string) string {
	last := ' '
	return strings.Map(func(r rune) rune {
		first := !unicode.IsLetter(last) && !unicode.IsDigit(last) && last != '_' &&
			(last < utf8.RuneSelf || unicode.IsSpace(last))
		if last = r; first {
			return unicode.ToTitle(r)
		}
		return r
	}, s)
}

// maxPad is how many spaces pad adds to a side: as many as printf's widths do.
const maxPad = 1_000_000

// pad puts spaces around a string that is not empty.
func pad(s string, before, after int) (string, error) {
	switch {
	case s == "":
		return "", nil
	case before < 0 || after < 0:
		return "", errors.New("less than no space")
	case before > maxPad || after > maxPad:
		return "", fmt.Errorf("more than %d spaces", maxPad)
	}
	return strings.Repeat(" ", before) + s + strings.Repeat(" ", after), nil
}

// truncate returns the first n bytes of a string.
func truncate(s string, n int) (string, error) {
	if n < 0 {
		return "", errors.New("to less than nothing")
	}
	return s[:min(n, len(s))], nil
}
