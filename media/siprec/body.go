// Package siprec reads what a session recording client tells us: the body of
// its requests (RFC 7866), the metadata in it (RFC 7865), and from these and
// the session description the state of a recording session, that is the legs,
// who speaks on them, and which are held.
//
// Real recorders differ from the RFCs and from each other; what they are known
// to send is read as it is meant. The package does no I/O and decides nothing
// about roles: it hands on what the metadata says of caller and called party.
package siprec

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

const (
	// MaxBody is the most bytes of a request's body, MaxMetadata of the metadata
	// in it.
	MaxBody     = 384 << 10
	MaxMetadata = 256 << 10

	maxParts   = 16
	maxNesting = 3
)

// Errors of ParseBody that callers answer differently.
var (
	// ErrTooLarge: a body or its metadata is above the limits.
	ErrTooLarge = errors.New("too large")
	// ErrContentType: the body is neither a description, nor metadata, nor
	// multipart, or a part that must be understood is not.
	ErrContentType = errors.New("content type is not understood")
)

// Body is what a request carries.
type Body struct {
	// SDP and Metadata are nil where there is none.
	SDP, Metadata []byte
	// SnapshotRequested: the other side asks for metadata, which only a
	// recording client can give.
	SnapshotRequested bool
	// Ignored are the content types of parts that mean nothing to us.
	Ignored []string
	// DTMF is a key in an application/dtmf-relay or application/dtmf body, zero
	// where there is none. It may be part of a secret.
	DTMF byte
}

// ParseBody reads a request's body. It takes parts in any order, lines that end
// in LF only, text before the first boundary, a missing last boundary or
// boundary parameter, parts within parts, and metadata under other names.
func ParseBody(contentType string, body []byte) (*Body, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("siprec: a body of %d bytes, at most %d: %w", len(body), MaxBody, ErrTooLarge)
	}
	b := &Body{}
	if len(bytes.TrimSpace(body)) == 0 {
		return b, nil
	}
	known, err := b.add(contentType, body, maxNesting)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, fmt.Errorf("siprec: %q: %w; send application/sdp, application/rs-metadata+xml or multipart/mixed", short(contentType), ErrContentType)
	}
	return b, nil
}

func short(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// add takes one part; known is false for one that means nothing to us.
func (b *Body) add(contentType string, content []byte, nesting int) (known bool, err error) {
	kind := mediaType(contentType)
	switch {
	case kind == "application/sdp":
		if b.SDP == nil {
			b.SDP = content
		}
	case strings.HasPrefix(kind, "multipart/"):
		if nesting == 0 {
			return false, fmt.Errorf("siprec: multipart within multipart, more than %d deep: %w", maxNesting, ErrTooLarge)
		}
		return true, b.parts(param(contentType, "boundary"), content, nesting-1)
	case kind == "application/rs-metadata-request":
		b.SnapshotRequested = true
	case kind == "application/rs-metadata+xml", kind == "application/rs-metadata", looksLikeMetadata(content):
		if len(content) > MaxMetadata {
			return false, fmt.Errorf("siprec: metadata of %d bytes, at most %d: %w", len(content), MaxMetadata, ErrTooLarge)
		}
		if b.Metadata == nil {
			b.Metadata = content
		}
	case kind == "application/dtmf-relay", kind == "application/dtmf":
		b.DTMF = digit(content)
	case kind == "" && bytes.HasPrefix(bytes.TrimSpace(content), []byte("v=0")):
		if b.SDP == nil {
			b.SDP = content
		}
	default:
		return false, nil
	}
	return true, nil
}

// mediaType is the lower-case type without parameters and white space.
func mediaType(contentType string) string {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.Join(strings.Fields(t), ""))
}

// param finds a parameter, quoted or bare; its own parser is kinder than
// mime.ParseMediaType, which refuses the whole header for one odd parameter.
func param(header, name string) string {
	_, rest, _ := strings.Cut(header, ";")
	for rest != "" {
		var key, value string
		key, rest, _ = strings.Cut(rest, "=")
		rest = strings.TrimLeft(rest, " \t")
		if strings.HasPrefix(rest, `"`) {
			value, rest, _ = strings.Cut(rest[1:], `"`)
			_, rest, _ = strings.Cut(rest, ";")
		} else {
			value, rest, _ = strings.Cut(rest, ";")
		}
		// A parameter without a value stands before the key.
		if i := strings.LastIndexByte(key, ';'); i >= 0 {
			key = key[i+1:]
		}
		if strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// looksLikeMetadata finds documents whose type says something else.
func looksLikeMetadata(content []byte) bool {
	rest := content
	for i := 0; i < 8; i++ {
		at := bytes.IndexByte(rest, '<')
		if at < 0 {
			return false
		}
		rest = rest[at+1:]
		if len(rest) > 0 && (rest[0] == '?' || rest[0] == '!') {
			continue
		}
		name, _, _ := bytes.Cut(rest, []byte(">"))
		if f := bytes.Fields(name); len(f) > 0 {
			name = f[0]
		}
		if i := bytes.LastIndexByte(name, ':'); i >= 0 {
			name = name[i+1:]
		}
		n := strings.TrimSuffix(string(name), "/")
		return n == "recording" || n == "recording_metadata"
	}
	return false
}

// parts splits a multipart body (RFC 2046, section 5.1).
func (b *Body) parts(boundary string, content []byte, nesting int) error {
	if boundary == "" {
		if boundary = guessBoundary(content); boundary == "" {
			return errors.New("siprec: a multipart body without a boundary")
		}
	}
	delimiter := []byte("--" + boundary)
	var part []byte
	inside, count := false, 0
	take := func() error {
		if !inside {
			return nil
		}
		if count++; count > maxParts {
			return fmt.Errorf("siprec: more than %d parts in a body: %w", maxParts, ErrTooLarge)
		}
		return b.part(part, nesting)
	}
	for rest := content; len(rest) > 0; {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line = rest[:i+1]
		}
		rest = rest[len(line):]
		if tail, ok := bytes.CutPrefix(line, delimiter); ok {
			end := bytes.HasPrefix(tail, []byte("--"))
			if end || len(bytes.TrimSpace(tail)) == 0 {
				if err := take(); err != nil || end {
					return err
				}
				inside, part = true, rest[:0]
				continue
			}
		}
		if inside {
			// Lines of a part lie one after the other in content.
			part = part[:len(part)+len(line)]
		}
	}
	// The last boundary is missing.
	return take()
}

func guessBoundary(content []byte) string {
	for line := range bytes.Lines(content) {
		if t, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("--")); ok {
			return string(t)
		}
	}
	return ""
}

// part reads one part's header and adds its content.
func (b *Body) part(part []byte, nesting int) error {
	var contentType, disposition string
	for {
		line, rest, more := bytes.Cut(part, []byte("\n"))
		text := strings.TrimSpace(string(line))
		if text == "" {
			part = rest
			break
		}
		name, value, ok := strings.Cut(text, ":")
		// A part may have no header at all.
		if !ok || text[0] == '<' || strings.HasPrefix(text, "v=0") {
			break
		}
		switch value = strings.TrimSpace(value); strings.ToLower(strings.TrimSpace(name)) {
		case "content-type", "c":
			contentType = value
		case "content-disposition":
			disposition = value
		}
		part = rest
		if !more {
			break
		}
	}
	// The line break before a boundary belongs to the boundary.
	part = bytes.TrimSuffix(part, []byte("\n"))
	part = bytes.TrimSuffix(part, []byte("\r"))
	known, err := b.add(contentType, part, nesting)
	if err != nil || known {
		return err
	}
	if strings.EqualFold(param(disposition, "handling"), "required") {
		return fmt.Errorf("siprec: a part of type %q must be understood (handling=required) and is not: %w", short(contentType), ErrContentType)
	}
	b.Ignored = append(b.Ignored, short(contentType))
	return nil
}

// digit is the key of a dtmf-relay body ("Signal=5") or of a dtmf body ("5").
func digit(content []byte) byte {
	text := strings.TrimSpace(string(content))
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, "="); ok && strings.EqualFold(strings.TrimSpace(name), "signal") {
			text = strings.TrimSpace(value)
			break
		}
	}
	switch text {
	case "10":
		return '*'
	case "11":
		return '#'
	}
	if len(text) == 1 && strings.Contains("0123456789*#ABCDabcd!", text) {
		return strings.ToUpper(text)[0]
	}
	return 0
}
