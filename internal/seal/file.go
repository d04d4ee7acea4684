package seal

import (
	"bytes"
	"fmt"
	"io"

	"filippo.io/age"
)

// NewWriter seals what is written to it into w, with the current key. Close ends
// the content, without which it does not open; it does not close w.
func (k *Keyring) NewWriter(w io.Writer, purpose, name string) (io.WriteCloser, error) {
	s, err := k.sealer(purpose, name)
	if err != nil {
		return nil, err
	}
	return s.writer(w)
}

func (s *sealer) writer(w io.Writer) (io.WriteCloser, error) {
	out, err := age.Encrypt(w, s)
	if err != nil {
		return nil, fmt.Errorf("seal: sealing %s %s: %w", s.purpose, s.name, err)
	}
	return out, nil
}

func (k *Keyring) sealer(purpose, name string) (*sealer, error) {
	if err := checkLabel("purpose", purpose); err != nil {
		return nil, err
	}
	if err := checkLabel("name", name); err != nil {
		return nil, err
	}
	o, err := k.current()
	if err != nil {
		return nil, err
	}
	return &sealer{key: o, purpose: purpose, name: name}, nil
}

// NewReader opens what NewWriter sealed, size bytes of it, for reading at any
// place: only the 64 KiB around a place are opened for it. The length is
// authentic before it returns; content that was changed gives an error that wraps
// ErrBroken where it is read.
func (k *Keyring) NewReader(sealed io.ReaderAt, size int64, purpose, name string) (*io.SectionReader, error) {
	r, n, err := age.DecryptReaderAt(sealed, size, &opener{ring: k, purpose: purpose, name: name})
	if err != nil {
		return nil, opening(purpose, name, err)
	}
	return io.NewSectionReader(&at{r: r, purpose: purpose, name: name}, 0, n), nil
}

// at gives the errors of reading their context.
type at struct {
	r             io.ReaderAt
	purpose, name string
}

// ReadAt implements io.ReaderAt.
func (a *at) ReadAt(p []byte, off int64) (int, error) {
	n, err := a.r.ReadAt(p, off)
	if err != nil && err != io.EOF { //nolint:errorlint // io.ReaderAt gives io.EOF bare
		err = opening(a.purpose, a.name, err)
	}
	return n, err
}

// Seal seals a small value.
func (k *Keyring) Seal(plain []byte, purpose, name string) ([]byte, error) {
	s, err := k.sealer(purpose, name)
	if err != nil {
		return nil, err
	}
	return s.seal(plain)
}

func (s *sealer) seal(plain []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := s.writer(&b)
	if err != nil {
		return nil, err
	}
	if _, err = w.Write(plain); err != nil {
		return nil, fmt.Errorf("seal: sealing %s %s: %w", s.purpose, s.name, err)
	}
	if err = w.Close(); err != nil {
		return nil, fmt.Errorf("seal: sealing %s %s: %w", s.purpose, s.name, err)
	}
	return b.Bytes(), nil
}

// Open opens what Seal sealed.
func (k *Keyring) Open(sealed []byte, purpose, name string) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), &opener{ring: k, purpose: purpose, name: name})
	if err != nil {
		return nil, opening(purpose, name, err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, opening(purpose, name, err)
	}
	return plain, nil
}

// KeyOf says which key a sealed file takes, from the beginning of the file.
func KeyOf(sealed io.Reader) (id string, err error) {
	var found finder
	// The finder lets go of every header, having looked at it.
	if _, err = age.Decrypt(sealed, &found); found.id == "" {
		return "", fmt.Errorf("seal: %w: %w", ErrBroken, err)
	}
	return found.id, nil
}

// finder reads a header and opens nothing.
type finder struct{ id string }

// Unwrap implements age.Identity.
func (f *finder) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, s := range stanzas {
		if s.Type == stanza && len(s.Args) == 3 {
			f.id = s.Args[0]
		}
	}
	return nil, age.ErrIncorrectIdentity
}
