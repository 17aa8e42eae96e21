package template

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"strings"
	"text/template/parse"
)

// maxDepth is how deep templates may invoke templates.
const maxDepth = 100

// How a loop's body ends early. They go no further than the loop.
var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

// A state is one execution.
type state struct {
	trees map[string]*parse.Tree
	funcs map[string]any
	out   io.Writer
	vars  []variable // the innermost last
	depth int
}

type variable struct {
	name  string
	value reflect.Value
}

// find returns the innermost variable of that name. That there is one when the
// parser saw one is not said: and and or do not evaluate all their arguments.
func (s *state) find(name string) *variable {
	for i := range slices.Backward(s.vars) {
		if s.vars[i].name == name {
			return &s.vars[i]
		}
	}
	return nil
}

// leave forgets the variables after the first n.
func (s *state) leave(n int) { s.vars = s.vars[:n] }

// walk executes a node and what is in it.
func (s *state) walk(dot reflect.Value, node parse.Node) error {
	switch n := node.(type) {
	case *parse.ListNode:
		for _, node := range n.Nodes {
			if err := s.walk(dot, node); err != nil {
				return err
			}
		}
	case *parse.TextNode:
		_, err := s.out.Write(n.Text)
		return err
	case *parse.ActionNode:
		return s.action(dot, n.Pipe)
	case *parse.IfNode:
		return s.branch(dot, &n.BranchNode)
	case *parse.WithNode:
		return s.branch(dot, &n.BranchNode)
	case *parse.RangeNode:
		return s.loop(dot, n)
	case *parse.TemplateNode:
		return s.invoke(dot, n)
	case *parse.BreakNode:
		return errBreak
	case *parse.ContinueNode:
		return errContinue
	}
	return nil
}

// action evaluates a pipeline and, unless it sets variables, prints its value.
func (s *state) action(dot reflect.Value, pipe *parse.PipeNode) error {
	v, err := s.pipeline(dot, pipe)
	if err != nil || len(pipe.Decl) > 0 {
		return err
	}
	x, ok := printable(v)
	if !ok {
		return s.errorf(pipe, "cannot print %s", v.Type())
	}
	_, err = fmt.Fprint(s.out, x)
	return err
}

// branch executes an if or a with, which sets dot as well.
func (s *state) branch(dot reflect.Value, b *parse.BranchNode) error {
	defer s.leave(len(s.vars))
	v, err := s.pipeline(dot, b.Pipe)
	switch {
	case err != nil:
		return err
	case truth(v) && b.NodeType == parse.NodeWith:
		return s.walk(v, b.List)
	case truth(v):
		return s.walk(dot, b.List)
	case b.ElseList != nil:
		return s.walk(dot, b.ElseList)
	}
	return nil
}

// loop executes a range.
func (s *state) loop(dot reflect.Value, n *parse.RangeNode) error {
	defer s.leave(len(s.vars))
	v, err := s.pipeline(dot, n.Pipe)
	if err != nil {
		return err
	}
	items, keyed := items(v)
	switch {
	case items == nil:
		return s.errorf(n.Pipe, "cannot range over %s", v.Type())
	case !keyed && len(n.Pipe.Decl) > 1:
		return s.errorf(n.Pipe, "cannot set two variables in a range over %s", v.Type())
	}
	empty, mark := true, len(s.vars)
	for key, item := range items {
		empty = false
		if decl := n.Pipe.Decl; len(decl) > 1 {
			s.find(decl[0].Ident[0]).value = key
			s.find(decl[1].Ident[0]).value = item
		} else if len(decl) > 0 {
			s.find(decl[0].Ident[0]).value = item
		}
		err := s.walk(item, n.List)
		s.leave(mark)
		if err == errBreak {
			break
		}
		if err != nil && err != errContinue {
			return err
		}
	}
	if empty && n.ElseList != nil {
		return s.walk(dot, n.ElseList)
	}
	return nil
}

// items returns what a range over v goes through, nil if it cannot, and whether
// items have a key of their own.
func items(v reflect.Value) (seq iter.Seq2[reflect.Value, reflect.Value], keyed bool) {
	v, _ = indirect(v)
	switch k := v.Kind(); {
	case !v.IsValid():
		return func(func(_, _ reflect.Value) bool) {}, true
	case k == reflect.Slice || k == reflect.Array:
		return v.Seq2(), true
	case k == reflect.Map:
		return sorted(v), true
	case isInt(k) || isUint(k):
		return func(yield func(_, _ reflect.Value) bool) {
			v.Seq()(func(i reflect.Value) bool { return yield(reflect.Value{}, i) }) // no key
		}, false
	}
	return nil, false
}

// sorted goes through a map in the order of its keys.
func sorted(m reflect.Value) iter.Seq2[reflect.Value, reflect.Value] {
	return func(yield func(_, _ reflect.Value) bool) {
		keys := m.MapKeys()
		slices.SortStableFunc(keys, compareKeys)
		for _, key := range keys {
			if !yield(key, m.MapIndex(key)) {
				return
			}
		}
	}
}

// compareKeys orders two keys of a map: those of a basic kind by value, others,
// which data of ours does not have, by how they print.
func compareKeys(a, b reflect.Value) int {
	switch class(a) {
	case reflect.Int64:
		return cmp.Compare(a.Int(), b.Int())
	case reflect.Uint64:
		return cmp.Compare(a.Uint(), b.Uint())
	case reflect.Float64:
		return cmp.Compare(a.Float(), b.Float())
	case reflect.String:
		return strings.Compare(a.String(), b.String())
	}
	return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

// invoke executes a template by name, which sees none of our variables.
func (s *state) invoke(dot reflect.Value, n *parse.TemplateNode) error {
	tree := s.trees[n.Name]
	if tree == nil {
		return s.errorf(n, "template %q is not defined", n.Name)
	}
	if s.depth == maxDepth {
		return s.errorf(n, "templates invoke each other more than %d deep", maxDepth)
	}
	v, err := s.pipeline(dot, n.Pipe)
	if err != nil {
		return err
	}
	vars := s.vars
	s.vars = []variable{{"$", v}}
	s.depth++
	err = s.walk(v, tree.Root)
	s.depth--
	s.vars = vars
	return err
}
