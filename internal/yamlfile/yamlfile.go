// Package yamlfile decodes YAML strictly and says at which line of which file
// something is wrong, for the decoder's faults as for the reader's own.
package yamlfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// MaxSize bounds the text that is accepted, in bytes: these are files that
// people write.
const MaxSize = 4 << 20

// File is a YAML text with the name that its errors show.
type File struct {
	Name   string
	Source []byte
}

// Error is a fault at a place of a file.
type Error struct {
	File string
	// Line and Column count from 1; 0 is unknown.
	Line, Column int
	Message      string
}

// Error is "file:line:column: message", without what is unknown.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	return b.String()
}

// Decode reads the text into out, a pointer. A key that out does not know, a
// key given twice and a wrong type are errors, always an *Error.
func (f File) Decode(out any) (err error) {
	if len(f.Source) > MaxSize {
		return &Error{File: f.Name, Message: fmt.Sprintf("%d bytes are more than the %d that are read", len(f.Source), MaxSize)}
	}
	// The library indexes into what it parsed; text that confuses it must not
	// end a running server that reloads a file.
	defer func() {
		if r := recover(); r != nil {
			err = &Error{File: f.Name, Message: fmt.Sprintf("not YAML: %v", r)}
		}
	}()
	err = yaml.UnmarshalWithOptions(f.Source, out, yaml.Strict())
	if err == nil {
		return nil
	}
	at := &Error{File: f.Name, Message: firstLine(err.Error())}
	var ye yaml.Error
	if errors.As(err, &ye) {
		at.Message = firstLine(ye.GetMessage())
		if tk := ye.GetToken(); tk != nil && tk.Position != nil {
			at.Line, at.Column = tk.Position.Line, tk.Position.Column
		}
	}
	return at
}

// Errorf is a complaint about the value at a path such as
// "$.elements[3].title". Where the path leads nowhere, as for a missing key,
// the nearest value above it is named.
func (f File) Errorf(path, format string, args ...any) error {
	e := &Error{File: f.Name, Message: fmt.Sprintf(format, args...)}
	e.Line, e.Column = f.position(path)
	return e
}

func (f File) position(path string) (line, column int) {
	defer func() {
		if recover() != nil {
			line, column = 0, 0
		}
	}()
	tree, err := parser.ParseBytes(f.Source, 0)
	if err != nil {
		return 0, 0
	}
	for path != "" && path != "$" {
		if p, err := yaml.PathString(path); err == nil {
			if n, err := p.FilterFile(tree); err == nil && n != nil {
				return start(n)
			}
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return 0, 0
}

// start is where a value begins; a mapping's own token is the colon of its
// first pair, so its first key is asked.
func start(n ast.Node) (line, column int) {
	switch m := n.(type) {
	case *ast.MappingNode:
		if len(m.Values) > 0 {
			n = m.Values[0].Key
		}
	case *ast.MappingValueNode:
		n = m.Key
	}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		return tk.Position.Line, tk.Position.Column
	}
	return 0, 0
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
