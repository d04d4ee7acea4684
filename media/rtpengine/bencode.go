package rtpengine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// Bencoding is four kinds of values:
//
//	5:hello   i-42e   l VALUE ... e   d STRING VALUE ... e
//
// Keys are not always in order in what rtpengine sends.

// maxDepth bounds the lists and dictionaries within each other; rtpengine's
// replies have six.
const maxDepth = 16

var errCutOff = errors.New("it is cut off")

// appendValue encodes a string, an int, a []string or a map[string]any of these.
func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		dst = strconv.AppendInt(dst, int64(len(v)), 10)
		dst = append(dst, ':')
		return append(dst, v...)
	case int:
		dst = append(dst, 'i')
		dst = strconv.AppendInt(dst, int64(v), 10)
	case []string:
		dst = append(dst, 'l')
		for _, s := range v {
			dst = appendValue(dst, s)
		}
	case map[string]any:
		dst = append(dst, 'd')
		for _, k := range slices.Sorted(maps.Keys(v)) {
			dst = appendValue(appendValue(dst, k), v[k])
		}
	}
	return append(dst, 'e')
}

// decode reads one value that fills b: a string, an int64, a []any or a
// map[string]any.
func decode(b []byte) (any, error) {
	d := decoder{b: b}
	v, err := d.value(0)
	if err == nil && d.at < len(b) {
		err = fmt.Errorf("%d bytes follow the value", len(b)-d.at)
	}
	if err != nil {
		return nil, fmt.Errorf("bencoding, at byte %d of %d: %w", d.at, len(b), err)
	}
	return v, nil
}

type decoder struct {
	b  []byte
	at int
}

func (d *decoder) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("values lie more than %d deep in each other", maxDepth)
	}
	if d.at == len(d.b) {
		return nil, errCutOff
	}
	switch c := d.b[d.at]; {
	case c == 'i':
		d.at++
		return d.number('e')
	case c == 'l':
		d.at++
		return d.list(depth)
	case c == 'd':
		d.at++
		return d.dict(depth)
	case c >= '0' && c <= '9':
		return d.text()
	default:
		return nil, fmt.Errorf("no value begins with %q", c)
	}
}

// number reads digits up to end.
func (d *decoder) number(end byte) (int64, error) {
	n := bytes.IndexByte(d.b[d.at:min(len(d.b), d.at+21)], end)
	if n < 0 {
		return 0, fmt.Errorf("no %q ends the number", end)
	}
	v, err := strconv.ParseInt(string(d.b[d.at:d.at+n]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", d.b[d.at:d.at+n])
	}
	d.at += n + 1
	return v, nil
}

func (d *decoder) text() (string, error) {
	n, err := d.number(':')
	if err != nil {
		return "", err
	}
	if n < 0 || n > math.MaxInt32 || int(n) > len(d.b)-d.at {
		return "", fmt.Errorf("a string of %d bytes where %d are left", n, len(d.b)-d.at)
	}
	s := string(d.b[d.at : d.at+int(n)])
	d.at += int(n)
	return s, nil
}

// over says whether an e ends the list or dictionary, and passes over it.
func (d *decoder) over() (bool, error) {
	if d.at == len(d.b) {
		return false, errCutOff
	}
	if d.b[d.at] != 'e' {
		return false, nil
	}
	d.at++
	return true, nil
}

func (d *decoder) list(depth int) ([]any, error) {
	l := []any{}
	for {
		if over, err := d.over(); over || err != nil {
			return l, err
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
}

func (d *decoder) dict(depth int) (map[string]any, error) {
	m := map[string]any{}
	for {
		if over, err := d.over(); over || err != nil {
			return m, err
		}
		if c := d.b[d.at]; c < '0' || c > '9' {
			return nil, errors.New("a key that is no string")
		}
		k, err := d.text()
		if err != nil {
			return nil, err
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		m[k] = v
	}
}
