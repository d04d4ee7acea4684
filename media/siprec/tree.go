package siprec

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// maxDepth and maxElements bound what a document makes us hold.
	maxDepth    = 32
	maxElements = 4096
)

// element is one element of a document. Names are local and in lower case,
// since recorders differ in namespaces, prefixes and case.
type element struct {
	name     string
	attrs    map[string]string
	text     string
	children []*element
}

// parseTree reads a document, without document types and entities of its own.
func parseTree(b []byte) (*element, error) {
	if len(b) > MaxMetadata {
		return nil, fmt.Errorf("siprec: metadata of %d bytes, at most %d: %w", len(b), MaxMetadata, ErrTooLarge)
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Strict = false // for entities of HTML and attributes without quotes
	d.CharsetReader = charset
	var root *element
	var open []*element
	var text [][]byte // of the open elements
	count := 0
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("siprec: metadata: %w", err)
		}
		switch t := token.(type) {
		case xml.Directive:
			return nil, fmt.Errorf("siprec: metadata: line %d: a document type is not taken; leave <!%.20s> out", line(d), t)
		case xml.StartElement:
			if root != nil && len(open) == 0 {
				return nil, fmt.Errorf("siprec: metadata: line %d: a second root element, %s", line(d), t.Name.Local)
			}
			if count++; len(open) == maxDepth || count > maxElements {
				return nil, fmt.Errorf("siprec: metadata: line %d: more than %d elements or %d deep: %w", line(d), maxElements, maxDepth, ErrTooLarge)
			}
			e := &element{name: strings.ToLower(t.Name.Local)}
			for _, a := range t.Attr {
				if e.attrs == nil {
					e.attrs = map[string]string{}
				}
				e.attrs[strings.ToLower(a.Name.Local)] = strings.TrimSpace(a.Value)
			}
			if len(open) > 0 {
				up := open[len(open)-1]
				up.children = append(up.children, e)
			} else {
				root = e
			}
			open, text = append(open, e), append(text, nil)
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1].name != strings.ToLower(t.Name.Local) {
				return nil, fmt.Errorf("siprec: metadata: line %d: </%s> closes nothing", line(d), t.Name.Local)
			}
			last := len(open) - 1
			open[last].text = strings.TrimSpace(string(text[last]))
			open, text = open[:last], text[:last]
		case xml.CharData:
			if len(text) > 0 {
				text[len(text)-1] = append(text[len(text)-1], t...)
			}
		}
	}
	switch {
	case root == nil:
		return nil, errors.New("siprec: metadata: there is no element")
	case len(open) > 0:
		return nil, fmt.Errorf("siprec: metadata: <%s> is not closed", open[len(open)-1].name)
	}
	return root, nil
}

func line(d *xml.Decoder) int {
	n, _ := d.InputPos()
	return n
}

// charset reads the two encodings that recorders declare besides UTF-8.
func charset(name string, r io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "us-ascii", "ascii", "utf8":
		return r, nil
	case "iso-8859-1", "latin1", "windows-1252":
		raw, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		runes := make([]rune, len(raw))
		for i, b := range raw {
			runes[i] = rune(b)
		}
		return strings.NewReader(string(runes)), nil
	default:
		return nil, fmt.Errorf("encoding %q is not known; send UTF-8", name)
	}
}

// child is the first child of a name.
func (e *element) child(name string) *element {
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// attr is the first of the attributes that is there.
func (e *element) attr(names ...string) string {
	for _, n := range names {
		if v := e.attrs[n]; v != "" {
			return v
		}
	}
	return ""
}

// value is the text of the first child of a name, or the attribute's.
func (e *element) value(name string) string {
	if c := e.child(name); c != nil && c.text != "" {
		return c.text
	}
	return e.attrs[name]
}
