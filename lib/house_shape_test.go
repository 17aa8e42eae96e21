package lib_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"
)

// budgets bind the worst of their kind, not the usual: what makes code hard to
// change is its longest function, not its median one.
var budgets = map[string]int{
	"function lines":    60,
	"cyclomatic":        15,
	"nesting":           4,
	"file lines":        400,
	"interface methods": 5,
	"option fields":     12, // of structs named ...Options or ...Config
	"import depth":      9,
}

// exceptions raise one budget for one thing, where to keep to it would make
// something worse; the first that fits a name holds. One that is no longer
// needed fails.
var exceptions = []struct {
	kind, name string
	limit      int
	why        string
}{
	{"import depth", "cmd/img", 11, "its face as skopeo stands on the tools, which no other program does"},
	{"import depth", "cmd/*", 10, "a daemon and a transport's program speak archives: they stand on that room, and do not have one of their own"},
	{"import depth", "lib/tool/skopeo", 10, "as cmd/img and cmd/*"},
}

// variables are the package variables that are neither errors, nor tables, nor
// compiled patterns, and why they are there all the same.
var variables = map[string]string{
	"lib/cli.Version":  "stamped by the linker",
	"lib/blob.buffers": "a pool of buffers: nobody sees who had one before",
	"lib/oci.folded":   "a table that is made of another one",
}

// figure is one measured thing.
type figure struct {
	kind, name, where string
	n                 int
}

func TestShape(t *testing.T) {
	fset, files := source(t)
	var figures []figure
	interfaces := embedding(product(files))
	for _, f := range product(files) {
		figures = append(figures, figure{"file lines", f.name, f.name, fset.Position(f.ast.FileEnd).Line - 1})
		figures = append(figures, measure(fset, f, interfaces)...)
	}
	figures = append(figures, depths(product(files))...)
	report(figures, files)
	needed := map[int]bool{}
	for _, x := range figures {
		limit, i := limitOf(x)
		if x.n > budgets[x.kind] && i >= 0 {
			needed[i] = true
		}
		if x.n > limit {
			t.Errorf("%s: %s has %s %d; the budget is %d", x.where, x.name, x.kind, x.n, limit)
		}
	}
	for i, e := range exceptions {
		if !needed[i] {
			t.Errorf("the exception of %s for %s is not needed", e.kind, e.name)
		}
	}
}

func limitOf(x figure) (limit, exception int) {
	for i, e := range exceptions {
		if e.kind == x.kind && matches(x.name, e.name) {
			return e.limit, i
		}
	}
	return budgets[x.kind], -1
}

// measure returns the figures of a file's functions and types.
func measure(fset *token.FileSet, f *file, interfaces map[string]*ast.InterfaceType) []figure {
	var out []figure
	add := func(kind, name string, at ast.Node, n int) {
		p := fset.Position(at.Pos())
		out = append(out, figure{kind, f.pkg + "." + name, fmt.Sprintf("%s:%d", f.name, p.Line), n})
	}
	for _, decl := range f.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Body == nil {
				continue
			}
			name := funcName(d)
			add("function lines", name, d, f.lines(fset, d))
			add("cyclomatic", name, d, cyclomatic(d.Body))
			add("nesting", name, d, nesting(d.Body, 0))
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				ts, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				name := ts.Name.Name
				switch typ := ts.Type.(type) {
				case *ast.InterfaceType:
					add("interface methods", name, ts, methods(f.pkg, typ, interfaces))
				case *ast.StructType:
					if strings.HasSuffix(name, "Options") || strings.HasSuffix(name, "Config") {
						add("option fields", name, ts, typ.Fields.NumFields())
					}
				}
			}
		}
	}
	return out
}

func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return d.Name.Name
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}

// cyclomatic counts the ways through a body: one, and one more for each branch,
// loop, case and logical operator.
func cyclomatic(body ast.Node) int {
	n := 1
	ast.Inspect(body, func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt, *ast.CommClause:
			n++
		case *ast.CaseClause:
			if x.List != nil {
				n++
			}
		case *ast.BinaryExpr:
			if x.Op == token.LAND || x.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

// nesting returns how deep branches, loops and function literals lie in each
// other. An else-if lies no deeper than its if, and a literal that is all that
// a function returns, as an iterator's, no deeper than the function.
func nesting(n ast.Node, depth int) int {
	deepest := depth
	ast.Inspect(n, func(x ast.Node) bool {
		if x == n || x == nil {
			return true
		}
		switch x := x.(type) {
		case *ast.IfStmt:
			level := depth + 1
			if outer, ok := n.(*ast.IfStmt); ok && outer.Else == ast.Stmt(x) {
				level = depth
			}
			deepest = max(deepest, nesting(x, level))
			return false
		case *ast.ReturnStmt:
			if lit := returned(x); lit != nil && depth == 0 {
				deepest = max(deepest, nesting(lit.Body, 0))
				return false
			}
		case *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt, *ast.SelectStmt, *ast.FuncLit:
			deepest = max(deepest, nesting(x, depth+1))
			return false
		}
		return true
	})
	return deepest
}

// returned returns the function literal that is the one thing returned.
func returned(r *ast.ReturnStmt) *ast.FuncLit {
	if len(r.Results) != 1 {
		return nil
	}
	lit, _ := r.Results[0].(*ast.FuncLit)
	return lit
}

// embedding maps the named interfaces of all packages, to count those embedded.
func embedding(files []*file) map[string]*ast.InterfaceType {
	named := map[string]*ast.InterfaceType{}
	for _, f := range files {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if ts, ok := n.(*ast.TypeSpec); ok {
				if it, ok := ts.Type.(*ast.InterfaceType); ok {
					named[f.pkg+"."+ts.Name.Name] = it
				}
			}
			return true
		})
	}
	return named
}

// methods counts the methods of an interface, with those of interfaces embedded
// from the same package; one from another package counts as one.
func methods(pkg string, it *ast.InterfaceType, named map[string]*ast.InterfaceType) int {
	n := 0
	for _, m := range it.Methods.List {
		id, ok := m.Type.(*ast.Ident)
		inner := named[pkg+"."]
		if ok {
			inner = named[pkg+"."+id.Name]
		}
		if inner != nil {
			n += methods(pkg, inner, named)
			continue
		}
		n += max(1, len(m.Names))
	}
	return n
}

// depths returns for each program how many packages of ours lie in a row.
func depths(files []*file) []figure {
	imports := map[string][]string{}
	for _, f := range files {
		for _, path := range f.imports() {
			if to, ours := strings.CutPrefix(path, module); ours {
				imports[f.pkg] = append(imports[f.pkg], to)
			}
		}
	}
	known := map[string]int{}
	var depth func(string) int
	depth = func(pkg string) int {
		if d, ok := known[pkg]; ok {
			return d
		}
		known[pkg] = 0 // a cycle does not compile
		best := 0
		for _, to := range imports[pkg] {
			best = max(best, depth(to))
		}
		known[pkg] = best + 1
		return best + 1
	}
	var out []figure
	for pkg := range imports {
		out = append(out, figure{"import depth", pkg, pkg, depth(pkg)})
	}
	return out
}

// report prints the figures: `make shape`.
func report(figures []figure, files []*file) {
	kinds := map[string][]figure{}
	for _, x := range figures {
		kinds[x.kind] = append(kinds[x.kind], x)
	}
	code, tests, counts := 0, 0, map[string]int{}
	for _, f := range files {
		if f.test {
			tests++
			for _, d := range f.ast.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok {
					for _, kind := range []string{"Test", "Fuzz", "Benchmark", "Example"} {
						if strings.HasPrefix(fn.Name.Name, kind) {
							counts[kind]++
						}
					}
				}
			}
		}
	}
	for _, x := range kinds["file lines"] {
		code += x.n
	}
	fmt.Printf("%d files, %d lines; %d test files: %d tests, %d fuzz targets, %d benchmarks, %d examples\n",
		len(files)-tests, code, tests, counts["Test"], counts["Fuzz"], counts["Benchmark"], counts["Example"])
	fmt.Printf("%-18s %6s %6s %6s %6s %6s  %s\n", "", "median", "p90", "p99", "max", "budget", "the largest")
	for _, kind := range slices.Sorted(maps.Keys(budgets)) {
		xs := kinds[kind]
		if len(xs) == 0 {
			continue
		}
		sort.Slice(xs, func(i, j int) bool { return xs[i].n < xs[j].n })
		at := func(p float64) int { return xs[int(float64(len(xs)-1)*p)].n }
		last := xs[len(xs)-1]
		fmt.Printf("%-18s %6d %6d %6d %6d %6d  %s\n", kind, at(.5), at(.9), at(.99), last.n, budgets[kind], last.name)
	}
}

// What runs before main is paid for by every start, and what packages keep in
// variables two copies in one process would share. So there is no init, and a
// package variable is an error, a table that nobody writes to, or a pattern.
func TestShapeOfPackages(t *testing.T) {
	fset, files := source(t)
	packages := map[string][]*file{}
	for _, f := range product(files) {
		packages[f.pkg] = append(packages[f.pkg], f)
	}
	seen := map[string]bool{}
	for pkg, files := range packages {
		written := assigned(files)
		for _, f := range files {
			for _, decl := range f.ast.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: init runs at every start", fset.Position(fn.Pos()))
				}
			}
			for _, v := range packageVars(f.ast) {
				name := pkg + "." + v.name.Name
				seen[name] = true
				if variables[name] == "" && !v.constant(written) {
					t.Errorf("%s: %s is a package variable, and neither an error, nor a table that is only read, nor a pattern", fset.Position(v.name.Pos()), name)
				}
			}
		}
	}
	for name := range variables {
		if !seen[name] {
			t.Errorf("the exception for the variable %s is not needed", name)
		}
	}
}

// packageVar is a variable with its value, nil if it has none.
type packageVar struct {
	name  *ast.Ident
	value ast.Expr
	embed bool
}

func packageVars(f *ast.File) []packageVar {
	var out []packageVar
	for _, decl := range f.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.VAR {
			continue
		}
		embed := d.Doc != nil && strings.Contains(d.Doc.List[len(d.Doc.List)-1].Text, "//go:embed")
		for _, spec := range d.Specs {
			vs := spec.(*ast.ValueSpec)
			for i, name := range vs.Names {
				if name.Name == "_" {
					continue // a check by the compiler
				}
				v := packageVar{name: name, embed: embed}
				if i < len(vs.Values) {
					v.value = vs.Values[i]
				}
				out = append(out, v)
			}
		}
	}
	return out
}

// constant reports whether the variable is never written to and holds an error,
// a table or a compiled pattern.
func (v packageVar) constant(written map[string]bool) bool {
	if written[v.name.Name] {
		return false
	}
	if v.value != nil && strings.HasPrefix(strings.ToLower(v.name.Name), "err") {
		return true
	}
	switch x := v.value.(type) {
	case nil:
		return v.embed
	case *ast.CompositeLit:
		return true
	case *ast.CallExpr:
		if _, conversion := x.Fun.(*ast.ArrayType); conversion {
			return true
		}
		s, ok := x.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		id, _ := s.X.(*ast.Ident)
		return id != nil && slices.Contains([]string{"regexp.MustCompile", "strings.NewReplacer"}, id.Name+"."+s.Sel.Name)
	}
	return false
}

// assigned returns the names of package variables that the files write to, or
// whose address they take: assignments to them, their elements or fields. A
// name that a function declares for itself is its own throughout.
func assigned(files []*file) map[string]bool {
	written := map[string]bool{}
	for _, f := range files {
		for _, decl := range f.ast.Decls {
			own := declared(decl)
			ast.Inspect(decl, func(n ast.Node) bool {
				for _, target := range targets(n) {
					if id := root(target); id != nil && !own[id.Name] {
						written[id.Name] = true
					}
				}
				return true
			})
		}
	}
	return written
}

// targets returns the expressions that a node writes to or takes the address of.
func targets(n ast.Node) []ast.Expr {
	switch x := n.(type) {
	case *ast.AssignStmt:
		if x.Tok != token.DEFINE {
			return x.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{x.X}
	case *ast.RangeStmt:
		if x.Tok == token.ASSIGN {
			return []ast.Expr{x.Key, x.Value}
		}
	case *ast.UnaryExpr:
		if x.Op == token.AND {
			return []ast.Expr{x.X}
		}
	}
	return nil
}

// root returns the variable that an expression is, or is part of.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.Ident:
			return x
		default:
			return nil
		}
	}
}

// declared returns the names that a function declares: parameters, results and
// variables.
func declared(decl ast.Decl) map[string]bool {
	own := map[string]bool{}
	add := func(exprs ...ast.Expr) {
		for _, e := range exprs {
			if id, ok := e.(*ast.Ident); ok {
				own[id.Name] = true
			}
		}
	}
	if _, ok := decl.(*ast.FuncDecl); !ok {
		return own
	}
	ast.Inspect(decl, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.Field:
			for _, name := range x.Names {
				own[name.Name] = true
			}
		case *ast.ValueSpec:
			for _, name := range x.Names {
				own[name.Name] = true
			}
		case *ast.AssignStmt:
			if x.Tok == token.DEFINE {
				add(x.Lhs...)
			}
		case *ast.RangeStmt:
			if x.Tok == token.DEFINE {
				add(x.Key, x.Value)
			}
		}
		return true
	})
	return own
}
