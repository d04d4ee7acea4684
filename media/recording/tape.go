package recording

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"sidetone/internal/pcm"
	"sidetone/internal/seal"
)

const (
	// segment is how many blocks make a record of the log: 1 s.
	segment = 4
	// maxPending is how many records wait for a disk that refuses them.
	maxPending = 15
)

// head begins each record of the log, as JSON behind its length in 2 bytes; the
// encoded blocks follow. What it says of the whole recording holds up to here.
type head struct {
	Version int    `json:"v"`
	Format  Format `json:"format"`
	Rate    int    `json:"rate"`
	// Blocks are the sizes of the blocks that follow, Samples how many samples of
	// each side they hold.
	Blocks  []int `json:"blocks"`
	Samples int64 `json:"samples"`
	// Left and Right are the legs that have been heard there.
	Left  []string `json:"left,omitempty"`
	Right []string `json:"right,omitempty"`
}

// index is what is known of a log from its heads.
type index struct {
	head
	blocks  []int
	samples int64
	// md5 is that of the samples, for FLAC; all zero where it is not known.
	md5 [md5.Size]byte
	// lost is how much is missing, in samples at pcm.Rate.
	lost    int64
	problem string
}

// blockLen is how many samples a block has.
func (x *index) blockLen() int { return block * x.Rate / pcm.Rate }

// position is the end of what is kept on the call's clock.
func (x *index) position() int64 { return x.samples * int64(pcm.Rate/x.Rate) }

func (x *index) add(h *head) {
	x.Version, x.Format, x.Rate, x.Left, x.Right = h.Version, h.Format, h.Rate, h.Left, h.Right
	x.blocks, x.samples = append(x.blocks, h.Blocks...), x.samples+h.Samples
}

// tape encodes what it is given and appends it to the log of a call.
type tape struct {
	store *Store
	key   string
	index index
	// now is the head of the record in the making, data its blocks.
	now  head
	data []byte
	enc  encoder
	// md5 sums up raw, the samples as FLAC wants them summed.
	md5 hash.Hash
	raw []byte

	log  *seal.Log
	file *os.File
	// size is how much of the file is whole.
	size    int64
	pending []record
	failed  bool

	// low is there where the recording's rate is lower.
	low *lower
}

// record is one that waits to be written.
type record struct {
	head   head
	sealed []byte
}

func newTape(s *Store, key string) *tape {
	t := &tape{store: s, key: key, md5: md5.New()}
	t.now = head{Version: 1, Format: s.cfg.Format, Rate: s.cfg.Rate}
	t.index.head = t.now
	return t
}

// restore goes on with a log that is there.
func (t *tape) restore() error {
	records := 0
	f, err := os.OpenFile(t.store.path(t.key, partSuffix), os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		t.failed = true
		return fmt.Errorf("recording: %w", err)
	default:
		t.file = f
		if err = lock(f); err != nil {
			t.failed = true
			return fmt.Errorf("recording: %s: %w", f.Name(), err)
		}
		if records, t.size, err = t.store.read(f, t.key, &t.index, nil); err != nil {
			t.store.cfg.Log.Warn("the end of a recording's log is damaged; it goes on before", "key", t.key, "error", err)
		}
		if err = f.Truncate(t.size); err != nil {
			t.failed = true
			return fmt.Errorf("recording: %w", err)
		}
		if records > 0 {
			// It stays as it was begun, whatever the configuration says now.
			t.now, t.md5 = t.index.head, nil
		}
	}
	if t.log, err = t.store.cfg.Keys.NewLog(purpose, t.key, records); err != nil {
		t.failed = true
		return err
	}
	if t.now.Rate != pcm.Rate {
		if t.low, err = newLower(t.now.Rate); err != nil {
			t.failed = true
			return err
		}
		t.low.done = t.index.samples
	}
	if t.enc, err = newEncoder(t.now.Format, t.now.Rate, int64(len(t.index.blocks))); err != nil {
		t.failed = true
		return err
	}
	t.now.Blocks, t.now.Samples = nil, 0
	return nil
}

// hears notes that a leg is heard on a side.
func (t *tape) hears(side int, leg string) {
	list := &t.now.Left
	if side == right {
		list = &t.now.Right
	}
	if side >= 0 && !slices.Contains(*list, leg) {
		// Records that wait hold the old list.
		*list = append(slices.Clone(*list), leg)
	}
}

// write takes a block of the call's rate.
func (t *tape) write(pcm *[2][]int16, paused []span) error {
	if t.failed {
		return nil
	}
	if t.low == nil {
		return t.encode(pcm)
	}
	t.low.push(pcm)
	for t.low.full() {
		if err := t.encode(t.low.take(t.low.block, paused)); err != nil {
			return err
		}
	}
	return nil
}

// end writes what is left.
func (t *tape) end(paused []span) error {
	if t.failed {
		return nil
	}
	if t.low != nil {
		rest := t.low.flush()
		for ; rest > 0; rest -= min(rest, t.low.block) {
			if err := t.encode(t.low.take(min(rest, t.low.block), paused)); err != nil {
				return err
			}
		}
	}
	if len(t.now.Blocks) > 0 {
		if err := t.flush(); err != nil {
			return err
		}
	}
	if len(t.pending) > 0 {
		t.failed = true
		return t.append()
	}
	if t.md5 != nil {
		t.md5.Sum(t.index.md5[:0])
	}
	return nil
}

// encode adds a block to the record in the making, and appends the record to the
// log when it is full.
func (t *tape) encode(pcm *[2][]int16) error {
	before := len(t.data)
	var err error
	if t.data, err = t.enc.encode(t.data, pcm); err != nil {
		t.failed = true
		return err
	}
	if t.md5 != nil {
		t.raw = interleave(t.raw[:0], pcm)
		t.md5.Write(t.raw)
	}
	t.now.Blocks = append(t.now.Blocks, len(t.data)-before)
	t.now.Samples += int64(len(pcm[left]))
	if len(t.now.Blocks) < segment {
		return nil
	}
	return t.flush()
}

// flush seals the record in the making and tries to write all that wait.
func (t *tape) flush() error {
	about, err := json.Marshal(&t.now)
	if err != nil {
		return err
	}
	plain := binary.BigEndian.AppendUint16(nil, uint16(len(about)))
	plain = append(append(plain, about...), t.data...)
	sealed, err := t.log.Seal(plain)
	if err != nil {
		t.failed = true
		return err
	}
	t.pending = append(t.pending, record{t.now, slices.Clone(sealed)})
	t.now.Blocks, t.now.Samples, t.data = nil, 0, t.data[:0]
	if err = t.append(); err != nil {
		t.store.stats.Errors.Add(1)
		if len(t.pending) > maxPending {
			t.failed, t.pending = true, nil
			return err
		}
	}
	return nil
}

// append writes the records that wait. One that was written in part is written
// again at its place.
func (t *tape) append() error {
	if t.file == nil {
		path := t.store.path(t.key, partSuffix)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		if err = lock(f); err != nil {
			return errors.Join(fmt.Errorf("recording: %s: %w", path, err), f.Close())
		}
		t.file = f
	}
	for len(t.pending) > 0 {
		p := &t.pending[0]
		if _, err := t.file.WriteAt(p.sealed, t.size); err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		t.size += int64(len(p.sealed))
		t.index.add(&p.head)
		t.pending = t.pending[1:]
	}
	return nil
}

// remove removes the log.
func (t *tape) remove() error {
	t.pending = nil
	if t.file == nil {
		return nil
	}
	_, err := shred(t.file.Name())
	return err
}

func (t *tape) close() {
	if t.file != nil {
		// All has been read or written that is wanted of it.
		_ = t.file.Close()
	}
}

// read goes through a log up to where it was cut off, adds its heads to the index
// and calls each, if any, with the encoded blocks. An error means that the rest
// is not to be trusted.
func (s *Store) read(f io.ReaderAt, key string, x *index, each func(blocks []byte) error) (records int, size int64, err error) {
	r := s.cfg.Keys.ReadLog(io.NewSectionReader(f, 0, 1<<62), purpose, key)
	for {
		plain, err := r.Next()
		if errors.Is(err, io.EOF) {
			return records, size, nil
		}
		if err != nil {
			return records, size, err
		}
		h, blocks, err := parse(plain)
		if err != nil {
			return records, size, fmt.Errorf("recording: record %d of %s: %w", records, key, err)
		}
		if each != nil {
			if err = each(blocks); err != nil {
				return records, size, err
			}
		}
		x.add(&h)
		records, size = r.Records(), r.Size()
	}
}

// errHead is what is wrong with a record that opens but is none.
var errHead = errors.New("it is no record of a recording")

// parse splits a record.
func parse(plain []byte) (h head, blocks []byte, err error) {
	if len(plain) < 2 {
		return h, nil, errHead
	}
	n := int(binary.BigEndian.Uint16(plain))
	if len(plain) < 2+n {
		return h, nil, errHead
	}
	if err = json.Unmarshal(plain[2:2+n], &h); err != nil {
		return h, nil, fmt.Errorf("%w: %w", errHead, err)
	}
	blocks = plain[2+n:]
	rest := len(blocks)
	for _, b := range h.Blocks {
		if b <= 0 || b > rest {
			return h, nil, fmt.Errorf("%w: its blocks do not fill it", errHead)
		}
		rest -= b
	}
	most := int64(len(h.Blocks)) * block
	if rest != 0 || h.Version != 1 || h.Format != FLAC && h.Format != WAV || h.Rate != 16000 && h.Rate != 8000 || h.Samples < 0 || h.Samples > most {
		return h, nil, fmt.Errorf("%w: version %d, %q at %d Hz, %d samples", errHead, h.Version, h.Format, h.Rate, h.Samples)
	}
	return h, blocks, nil
}
