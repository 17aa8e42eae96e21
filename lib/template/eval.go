package template

import (
	"fmt"
	"reflect"
	"strings"
	"text/template/parse"
)

// arguments are what something in a pipeline is applied to: the operands that
// follow it, evaluated with dot, and the value of the command before.
type arguments struct {
	dot   reflect.Value
	nodes []parse.Node
	piped bool // final is there, be it a nil
	final reflect.Value
}

func (a arguments) none() bool { return len(a.nodes) == 0 && !a.piped }

// pipeline evaluates a pipeline and sets its variables. The value of nil, and of
// no pipeline, is the zero Value.
func (s *state) pipeline(dot reflect.Value, pipe *parse.PipeNode) (v reflect.Value, err error) {
	if pipe == nil {
		return v, nil
	}
	for i, cmd := range pipe.Cmds {
		args := arguments{dot, cmd.Args[1:], i > 0, v}
		if v, err = s.operand(cmd.Args[0], args); err != nil {
			return v, err
		}
		if v.Kind() == reflect.Interface && v.NumMethod() == 0 {
			v = v.Elem()
		}
	}
	for _, decl := range pipe.Decl {
		if !pipe.IsAssign {
			s.vars = append(s.vars, variable{decl.Ident[0], v})
		} else if set := s.find(decl.Ident[0]); set != nil {
			set.value = v
		} else {
			return v, s.errorf(pipe, "undefined variable %s", decl.Ident[0])
		}
	}
	return v, nil
}

// operand evaluates a node, applied to the arguments.
func (s *state) operand(node parse.Node, args arguments) (reflect.Value, error) {
	switch n := node.(type) {
	case *parse.FieldNode:
		return s.fields(n, args.dot, n.Ident, args)
	case *parse.ChainNode:
		v, err := s.operand(n.Node, arguments{dot: args.dot})
		if err != nil {
			return v, err
		}
		return s.fields(n, v, n.Field, args)
	case *parse.VariableNode:
		v := s.find(n.Ident[0])
		if v == nil {
			return reflect.Value{}, s.errorf(n, "undefined variable %s", n.Ident[0])
		}
		if len(n.Ident) > 1 || args.none() {
			return s.fields(n, v.value, n.Ident[1:], args)
		}
	case *parse.IdentifierNode:
		return s.function(n, args)
	}
	if !args.none() {
		return reflect.Value{}, s.errorf(node, "not a function, and takes no arguments")
	}
	return s.simple(node, args.dot)
}

// simple evaluates a node that cannot be applied to anything.
func (s *state) simple(node parse.Node, dot reflect.Value) (reflect.Value, error) {
	switch n := node.(type) {
	case *parse.PipeNode:
		return s.pipeline(dot, n)
	case *parse.DotNode:
		return dot, nil
	case *parse.BoolNode:
		return reflect.ValueOf(n.True), nil
	case *parse.StringNode:
		return reflect.ValueOf(n.Text), nil
	case *parse.NumberNode:
		return s.number(n)
	}
	return reflect.Value{}, s.errorf(node, "not a command")
}

// number returns a constant with the type that its syntax tells: as in Go, but
// that there are no constants of an unsigned type.
func (s *state) number(n *parse.NumberNode) (reflect.Value, error) {
	switch {
	case n.IsComplex:
		return reflect.ValueOf(n.Complex128), nil
	case n.IsFloat && looksFloat(n.Text):
		return reflect.ValueOf(n.Float64), nil
	case n.IsInt && int64(int(n.Int64)) == n.Int64:
		return reflect.ValueOf(int(n.Int64)), nil
	}
	return reflect.Value{}, s.errorf(n, "overflows int")
}

// looksFloat reports whether a number is written with a point or an exponent,
// which the letters of a rune or of a hexadecimal number are not.
func looksFloat(text string) bool {
	hex := strings.HasPrefix(text, "0x") || strings.HasPrefix(text, "0X")
	if text[0] == '\'' || hex && !strings.ContainsAny(text, "pP") {
		return false
	}
	return strings.ContainsAny(text, ".eEpP")
}

// fields follows names from v. What the last is applied to is its own.
func (s *state) fields(n parse.Node, v reflect.Value, names []string, args arguments) (_ reflect.Value, err error) {
	for i, name := range names {
		applied := arguments{dot: args.dot}
		if i == len(names)-1 {
			applied = args
		}
		if v, err = s.field(n, v, name, applied); err != nil {
			return v, err
		}
	}
	return v, nil
}

// field returns a method's result, a struct's field or a map's element. Of
// nothing there is nothing: the zero Value, as for a key that a map has not.
func (s *state) field(n parse.Node, of reflect.Value, name string, args arguments) (reflect.Value, error) {
	if !of.IsValid() {
		return of, nil
	}
	v, isNil := indirect(of)
	if isNil {
		return reflect.Value{}, s.errorf(n, "%s of nil %s", name, of.Type())
	}
	if c, ok := method(v, name); ok {
		return s.call(n, c, args)
	}
	found, err := member(v, name)
	if err != nil {
		return reflect.Value{}, s.errorf(n, "%v", err)
	}
	if !args.none() {
		return reflect.Value{}, s.errorf(n, "%s is not a method, and takes no arguments", name)
	}
	return found, nil
}

// member returns a struct's field or a map's element.
func member(v reflect.Value, name string) (reflect.Value, error) {
	switch v.Kind() {
	case reflect.Struct:
		f, ok := v.Type().FieldByName(name)
		if ok && f.IsExported() {
			return v.FieldByIndexErr(f.Index)
		}
	case reflect.Map:
		if key := reflect.ValueOf(name); key.Type().AssignableTo(v.Type().Key()) {
			return v.MapIndex(key), nil
		}
	}
	return reflect.Value{}, fmt.Errorf("no field or method %s in type %s", name, v.Type())
}

// indirect follows pointers and interfaces to what is behind, or to the nil.
func indirect(v reflect.Value) (_ reflect.Value, isNil bool) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return v, true
		}
		v = v.Elem()
	}
	return v, false
}

// concrete returns what is in an interface.
func concrete(v reflect.Value) reflect.Value {
	if v.Kind() == reflect.Interface {
		return v.Elem()
	}
	return v
}

// truth reports whether a value is neither a zero, nor a nil, nor empty. A
// struct is always true.
func truth(v reflect.Value) bool {
	v = concrete(v)
	switch v.Kind() {
	case reflect.Invalid:
		return false
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() > 0
	case reflect.Struct:
		return true
	case reflect.Float32, reflect.Float64:
		return v.Float() != 0
	case reflect.Complex64, reflect.Complex128:
		return v.Complex() != 0
	}
	return !v.IsZero()
}

// printable returns a value as it is for fmt to print: without pointers that
// would print as addresses. Functions and channels are not printed.
func printable(v reflect.Value) (any, bool) {
	if v.Kind() == reflect.Pointer {
		v, _ = indirect(v)
	}
	if !v.IsValid() {
		return "<no value>", true
	}
	x := v.Interface()
	if v.CanAddr() {
		x = v.Addr().Interface()
	}
	switch x.(type) {
	case error, fmt.Stringer:
		return x, true
	}
	return v.Interface(), v.Kind() != reflect.Chan && v.Kind() != reflect.Func
}
