package audit

import (
	"context"
	"crypto/hmac"
	"database/sql"
	"errors"
	"fmt"

	"sidetone/internal/store"
)

// Report is what Verify found.
type Report struct {
	// Entries are those that were checked, Last the last of them that is good.
	Entries uint64 `json:"entries"`
	Last    Anchor `json:"last"`
	// Anchor is the entry that this node knows to have been there; zero where it
	// knows none.
	Anchor Anchor `json:"anchor"`
	// Broken is the first breach, nil where there is none.
	Broken *Breach `json:"broken,omitempty"`
}

// Breach is where the log is not what was written, and how that shows.
type Breach struct {
	Seq    uint64 `json:"seq"`
	Reason string `json:"reason"`
	// Cut says that all entries fit, but are not those that were there.
	Cut bool `json:"cut,omitempty"`
}

// verifyAtOnce bounds the entries that are read at a time.
const verifyAtOnce = 1000

// Verify reads the whole log and checks every hash, and that the anchor's entry
// is in it. An error is that it could not be read; what was found is in Report.
func (l *Log) Verify(ctx context.Context) (Report, error) {
	var out Report
	// Read first, so that entries added meanwhile do no harm.
	var err error
	if out.Anchor, err = readAnchor(l.cfg.Dir); err != nil {
		return out, err
	}
	anchored := out.Anchor.Seq == 0
	for {
		rows, err := l.db.Query(ctx, `SELECT `+columns+` FROM audit WHERE seq > ? ORDER BY seq LIMIT ?`, int64(out.Last.Seq), verifyAtOnce)
		if err != nil {
			return out, fmt.Errorf("audit: %w", err)
		}
		n := 0
		err = store.Rows(rows, func(rows *sql.Rows) error {
			r, serr := scan(rows)
			if serr != nil {
				return serr
			}
			n++
			out.Entries++
			want := out.Last.Seq + 1
			switch {
			case uint64(r.seq) != want:
				return breach(want, "the entry is missing")
			case !hmac.Equal([]byte(r.hash), []byte(r.sum(l.key, out.Last.Hash))):
				return breach(want, "the entry, or the hash before it, was changed")
			case want == out.Anchor.Seq && r.hash != out.Anchor.Hash:
				return &breachError{Breach{want, "the entry is another than the one that was anchored", true}}
			}
			anchored = anchored || want == out.Anchor.Seq
			out.Last = Anchor{Seq: want, Hash: r.hash, At: store.Time(r.at)}
			return nil
		})
		if b, ok := errors.AsType[*breachError](err); ok {
			out.Broken = &b.Breach
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("audit: %w", err)
		}
		if n < verifyAtOnce {
			break
		}
	}
	switch {
	case !anchored:
		out.Broken = &Breach{out.Last.Seq + 1, fmt.Sprintf("the log was cut: it ends at entry %d, and entry %d was there", out.Last.Seq, out.Anchor.Seq), true}
	case out.Last.Seq == 0:
		out.Broken = &Breach{1, "the log is empty: its first entry is missing", false}
	}
	return out, nil
}

// breachError ends the reading of rows.
type breachError struct{ Breach }

func (b *breachError) Error() string { return fmt.Sprintf("entry %d: %s", b.Seq, b.Reason) }

func breach(seq uint64, reason string) error { return &breachError{Breach{Seq: seq, Reason: reason}} }
