// Package archtest reads the tree's source and says where it breaks the rules
// of the house: the direction of imports, the purity of packages, the home of
// each library.
//
// It parses files itself: a test that runs the go command is answered from the
// test cache after the source it judged has changed.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Module is the module path whose packages are judged.
const Module = "sidetone"

// File is one source file that is not a test.
type File struct {
	// Package is the folder relative to the module's root, with slashes.
	Package string
	// Name is the path relative to the module's root.
	Name string
	ast  *ast.File
	fset *token.FileSet
}

// Load parses every Go file below root, test files and nested modules left out.
func Load(root string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			if _, missing := os.Stat(filepath.Join(p, "go.mod")); missing == nil && rel != "." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		f, err := Parse(rel, p, nil)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// Parse reads one file; src is as in go/parser.
func Parse(rel, filename string, src any) (File, error) {
	fset := token.NewFileSet()
	a, err := parser.ParseFile(fset, filename, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return File{}, err
	}
	return File{Package: path.Dir(rel), Name: rel, ast: a, fset: fset}, nil
}

func (f *File) imports() []string {
	var in []string
	for _, s := range f.ast.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err == nil {
			in = append(in, p)
		}
	}
	return in
}

func (f *File) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.Name, f.fset.Position(n.Pos()).Line)
}

// Rules is what the tree must keep.
type Rules struct {
	// Domains are the top-level folders between which imports are limited.
	Domains []string
	// Edges are the allowed imports between domains, "from to"; only the root
	// package of "to" may be imported.
	Edges []string
	// Pure packages start no goroutine and touch no clock, socket or file. A
	// trailing "/..." takes in the packages below.
	Pure []string
	// Homes names, for each library (an import path prefix), the packages that
	// may import it.
	Homes map[string][]string
}

// impureImports are packages that a pure package has no use for.
func impureImports() []string {
	return []string{"os", "net", "net/http", "syscall", "math/rand", "os/exec", "path/filepath", "log"}
}

// impureTime are the functions of package time that read the clock or wait.
func impureTime() []string {
	return []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}
}

// Check returns one line for each breach.
func (r Rules) Check(files []File) []string {
	var out []string
	commented := map[string]bool{}
	for i := range files {
		f := &files[i]
		if _, ok := commented[f.Package]; !ok {
			commented[f.Package] = false
		}
		if f.ast.Doc != nil {
			text := f.ast.Doc.Text()
			if strings.HasPrefix(text, "Package "+f.ast.Name.Name+" ") || f.ast.Name.Name == "main" {
				commented[f.Package] = true
			}
		}
		out = append(out, r.checkImports(f)...)
		out = append(out, r.checkHomes(f)...)
		out = append(out, checkInit(f)...)
		if matches(r.Pure, f.Package) {
			out = append(out, checkPure(f)...)
		}
	}
	for p, ok := range commented {
		if !ok {
			out = append(out, p+": no package comment that begins with the package's name")
		}
	}
	slices.Sort(out)
	return out
}

func (r Rules) domain(pkg string) string {
	head, _, _ := strings.Cut(pkg, "/")
	if slices.Contains(r.Domains, head) {
		return head
	}
	return ""
}

func (r Rules) checkImports(f *File) []string {
	var out []string
	from := r.domain(f.Package)
	for _, imp := range f.imports() {
		to, ok := strings.CutPrefix(imp, Module+"/")
		if !ok {
			continue
		}
		if to == "cmd" || strings.HasPrefix(to, "cmd/") {
			if !strings.HasPrefix(f.Package, "cmd/") {
				out = append(out, f.Name+": imports "+to+"; cmd wires the others and is imported by none")
			}
			continue
		}
		dom := r.domain(to)
		switch {
		case dom == "" || dom == from || strings.HasPrefix(f.Package, "cmd/"):
		case from == "":
			out = append(out, f.Name+": "+f.Package+" is a leaf and must not import the domain package "+to)
		case !slices.Contains(r.Edges, from+" "+dom):
			out = append(out, f.Name+": "+from+" must not import "+dom+" ("+to+")")
		case to != dom:
			out = append(out, f.Name+": "+from+" may import only the root package of "+dom+", not "+to)
		}
	}
	return out
}

func (r Rules) checkHomes(f *File) []string {
	var out []string
	for _, imp := range f.imports() {
		for lib, homes := range r.Homes {
			if (imp == lib || strings.HasPrefix(imp, lib+"/")) && !matches(homes, f.Package) {
				out = append(out, fmt.Sprintf("%s: imports %s, whose home is %s", f.Name, imp, strings.Join(homes, ", ")))
			}
		}
	}
	return out
}

func checkInit(f *File) []string {
	var out []string
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			out = append(out, f.at(fn)+": init function")
		}
	}
	return out
}

func checkPure(f *File) []string {
	var out []string
	for _, imp := range f.imports() {
		if slices.Contains(impureImports(), imp) {
			out = append(out, f.Name+": pure package "+f.Package+" imports "+imp)
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			out = append(out, f.at(n)+": pure package "+f.Package+" starts a goroutine")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(impureTime(), n.Sel.Name) {
				out = append(out, f.at(n)+": pure package "+f.Package+" uses time."+n.Sel.Name)
			}
		}
		return true
	})
	return out
}

func matches(patterns []string, pkg string) bool {
	for _, p := range patterns {
		base, deep := strings.CutSuffix(p, "/...")
		if pkg == base || deep && strings.HasPrefix(pkg, base+"/") {
			return true
		}
	}
	return false
}
