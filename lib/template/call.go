package template

import (
	"fmt"
	"reflect"
	"slices"
	"text/template/parse"
)

// A callee is a function or, with a receiver, a method.
type callee struct {
	name string
	fn   reflect.Value
	recv []reflect.Value
}

// A stopper is and or or: a function that evaluates its arguments up to the
// first that is as true as itself, which is the result, or else the last is.
type stopper bool

// function calls a function by name. The parser has seen to it that there is one.
func (s *state) function(n *parse.IdentifierNode, args arguments) (reflect.Value, error) {
	fn := s.funcs[n.Ident]
	if stop, ok := fn.(stopper); ok {
		return s.stop(n, stop, args)
	}
	return s.call(n, callee{name: n.Ident, fn: reflect.ValueOf(fn)}, args)
}

func (s *state) stop(n *parse.IdentifierNode, stop stopper, args arguments) (v reflect.Value, err error) {
	if args.none() {
		return v, s.errorf(n, "wrong number of arguments for %s: want at least 1, got 0", n.Ident)
	}
	for _, node := range args.nodes {
		if v, err = s.argument(node, args.dot, reflect.TypeFor[reflect.Value]()); err != nil {
			return v, err
		}
		v, _ = v.Interface().(reflect.Value)
		if truth(v) == bool(stop) {
			return v, nil
		}
	}
	if args.piped {
		v = args.final
	}
	return v, nil
}

// call applies a function or method to the arguments.
func (s *state) call(n parse.Node, c callee, args arguments) (reflect.Value, error) {
	typ := c.fn.Type()
	if err := c.count(args); err != nil {
		return reflect.Value{}, s.errorf(n, "%v", err)
	}
	argv := slices.Clone(c.recv)
	for _, node := range args.nodes {
		v, err := s.argument(node, args.dot, param(typ, len(argv)))
		if err != nil {
			return v, err
		}
		argv = append(argv, v)
	}
	if args.piped {
		v, err := assign(args.final, param(typ, len(argv)))
		if err != nil {
			return v, s.errorf(n, "%v", err)
		}
		argv = append(argv, v)
	}
	v, err := apply(c.fn, argv)
	if err != nil {
		return v, s.errorf(n, "%s: %v", c.name, err)
	}
	return v, nil
}

// count checks the number of arguments.
func (c callee) count(args arguments) error {
	typ := c.fn.Type()
	want, got := typ.NumIn()-len(c.recv), len(args.nodes)
	if args.piped {
		got++
	}
	if typ.IsVariadic() && got < want-1 {
		return fmt.Errorf("wrong number of arguments for %s: want at least %d, got %d", c.name, want-1, got)
	}
	if !typ.IsVariadic() && got != want {
		return fmt.Errorf("wrong number of arguments for %s: want %d, got %d", c.name, want, got)
	}
	return nil
}

// param returns the type of a function's parameter, the receiver included.
func param(fn reflect.Type, i int) reflect.Type {
	if last := fn.NumIn() - 1; fn.IsVariadic() && i >= last {
		return fn.In(last).Elem()
	}
	return fn.In(i)
}

// apply calls a function. A panic in it, as for a method of a value that is not
// valid, is an error.
func apply(fn reflect.Value, argv []reflect.Value) (v reflect.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	out := fn.Call(argv)
	if len(out) > 1 && !out[1].IsNil() {
		return v, fmt.Errorf("%v", out[1])
	}
	if inner, ok := out[0].Interface().(reflect.Value); ok {
		return inner, nil
	}
	return out[0], nil
}

// argument evaluates an operand for a parameter of a type.
func (s *state) argument(node parse.Node, dot reflect.Value, typ reflect.Type) (reflect.Value, error) {
	var v reflect.Value
	var err error
	number, isNumber := node.(*parse.NumberNode)
	switch {
	case node.Type() == parse.NodeNil: // the zero Value, as it happens
	case isNumber && number.IsInt && isInt(typ.Kind()):
		return reflect.ValueOf(number.Int64).Convert(typ), nil
	default:
		v, err = s.operand(node, arguments{dot: dot})
	}
	if err != nil {
		return v, err
	}
	if v, err = assign(v, typ); err != nil {
		return v, s.errorf(node, "%v", err)
	}
	return v, nil
}

// assign makes a value one of the type. More than text/template does: any type
// of strings will do where a string is wanted, and in a list of them.
func assign(v reflect.Value, typ reflect.Type) (reflect.Value, error) {
	if typ == reflect.TypeFor[reflect.Value]() {
		return reflect.ValueOf(v), nil
	}
	if !v.IsValid() {
		if k := typ.Kind(); k == reflect.Interface || k == reflect.Slice {
			return reflect.Zero(typ), nil
		}
		return v, fmt.Errorf("want %s, got nothing", typ)
	}
	if v.Type().AssignableTo(typ) {
		return v, nil
	}
	inner := concrete(v)
	if inner.Kind() == reflect.Pointer && !inner.IsNil() && inner.Type().Elem().AssignableTo(typ) {
		return inner.Elem(), nil
	}
	if inner.Kind() == reflect.String && typ.Kind() == reflect.String {
		return inner.Convert(typ), nil
	}
	if inner.Kind() == reflect.Slice && typ == reflect.TypeFor[[]string]() {
		return stringList(inner)
	}
	if inner.IsValid() && inner.Type().AssignableTo(typ) {
		return inner, nil
	}
	return v, fmt.Errorf("want %s, got %s", typ, v.Type())
}

// stringList makes a []string of a list whose elements are strings of any type.
func stringList(v reflect.Value) (reflect.Value, error) {
	list := make([]string, v.Len())
	for i := range list {
		e := concrete(v.Index(i))
		if e.Kind() != reflect.String {
			return v, fmt.Errorf("want a list of strings, got %s", v.Type())
		}
		list[i] = e.String()
	}
	return reflect.ValueOf(list), nil
}
