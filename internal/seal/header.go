package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"filippo.io/age"
)

// stanza is the type of the header's part that binds a file to its meaning.
const stanza = "sidetone"

// sealer wraps a file's key for one key of the ring and binds purpose and name.
type sealer struct {
	key           *key
	purpose, name string
}

var _ age.RecipientWithLabels = (*sealer)(nil)

// Wrap implements age.Recipient.
func (s *sealer) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	out, _, err := s.WrapWithLabels(fileKey)
	return out, err
}

// WrapWithLabels implements age.RecipientWithLabels.
func (s *sealer) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	var labels []string
	var out []*age.Stanza
	var err error
	if r, ok := s.key.recipient.(age.RecipientWithLabels); ok {
		out, labels, err = r.WrapWithLabels(fileKey)
	} else {
		out, err = s.key.recipient.Wrap(fileKey)
	}
	if err != nil {
		return nil, nil, err
	}
	own := &age.Stanza{Type: stanza, Args: []string{s.key.ID, s.purpose, s.name}, Body: s.key.sign(s.purpose, s.name, fileKey)}
	return append([]*age.Stanza{own}, out...), labels, nil
}

// opener unwraps the key of a file that is for the purpose and of the name.
type opener struct {
	ring          *Keyring
	purpose, name string
}

var _ age.Identity = (*opener)(nil)

// Unwrap implements age.Identity.
func (o *opener) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	var own *age.Stanza
	var rest []*age.Stanza
	for _, s := range stanzas {
		switch {
		case s.Type != stanza:
			rest = append(rest, s)
		case own != nil || len(s.Args) != 3:
			return nil, fmt.Errorf("%w: its header is malformed", ErrBroken)
		default:
			own = s
		}
	}
	if own == nil {
		return nil, fmt.Errorf("%w: its header does not say what it is", ErrBroken)
	}
	id, purpose, name := own.Args[0], own.Args[1], own.Args[2]
	if purpose != o.purpose || name != o.name {
		return nil, fmt.Errorf("%w: it is %s %s", ErrOther, purpose, name)
	}
	k, err := o.ring.find(id)
	if err != nil {
		return nil, err
	}
	fileKey, err := k.identity.Unwrap(rest)
	if err != nil {
		return nil, fmt.Errorf("%w: key %s: %w", ErrBroken, id, err)
	}
	if !hmac.Equal(own.Body, k.sign(purpose, name, fileKey)) {
		return nil, fmt.Errorf("%w: its tag is not by a holder of key %s", ErrBroken, id)
	}
	return fileKey, nil
}

// sign makes the tag of a header. Lengths stand before what they are of, so that
// no two triples give the same input.
func (k *key) sign(purpose, name string, fileKey []byte) []byte {
	m := hmac.New(sha256.New, k.tag)
	for _, part := range [][]byte{[]byte(purpose), []byte(name), fileKey} {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(part)))
		m.Write(n[:])
		m.Write(part)
	}
	return m.Sum(nil)
}
