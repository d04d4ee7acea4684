// Package ledger writes down decisions about voices so that they can be defended
// after years: what was decided, by which evidence and thresholds, of which model and
// calibration, from audio of what quality. No decision has an embedding.
package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"sidetone/internal/store"
	"sidetone/voiceprint"
)

// ErrInvalid is in the chain of errors about a decision that cannot be kept.
var ErrInvalid = errors.New("the decision cannot be kept")

// Look is one point of the score over time.
type Look struct {
	Net time.Duration
	// Accept is the threshold that LLR was held against.
	LLR, Accept float64
}

// Sign is one of spoofing, as package spoof tells it.
type Sign struct {
	Name string
	// Strength is in seconds of what was heard before, or in nats; Probability is that
	// of the sign being real.
	Strength, Probability float64
	// Evidence is what was seen, in words.
	Evidence string
}

// Comparison is a decision about a person in a call, with all that it rested on.
type Comparison struct {
	// ID sorts by time.
	ID string
	// Person is the pseudonym.
	Person string
	// Call is the key of the call, Leg the leg whose voice it was.
	Call, Leg string
	At        time.Time
	// Took is from the leg's beginning to the answer.
	Took     time.Duration
	Decision voiceprint.Decision
	// Templates are the ids of those compared with.
	Templates []string
	// Signs are those of spoofing, which stand beside the score.
	Signs []Sign
	// Looks are the scores that led there.
	Looks []Look
}

// Write keeps a decision about a person.
func Write(ctx context.Context, to store.Execer, c *Comparison) error {
	d := &c.Decision
	if c.ID == "" || c.Person == "" || c.Call == "" || math.IsNaN(d.LLR) || math.IsInf(d.LLR, 0) {
		return fmt.Errorf("ledger: in call %q with %v nats: %w", c.Call, d.LLR, ErrInvalid)
	}
	text, err := json.Marshal(detailOf(c))
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	_, err = to.Exec(ctx, `INSERT INTO voice_comparisons (id, person, call, leg, at, outcome, llr, detail) VALUES `+store.Marks(8),
		c.ID, c.Person, store.Clean(c.Call), store.Clean(c.Leg), store.Micros(c.At), d.Outcome.String(), d.LLR, store.Clean(string(text)))
	return err
}

// number is one that JSON has as null where it is none.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// detail is how the database holds what has no column. Its names stay, whatever
// becomes of those of the program: it is read after years.
type detail struct {
	Took    int64               `json:"took_us"`
	Reasons []voiceprint.Reason `json:"reasons,omitempty"`
	Accept  number              `json:"accept"`
	Reject  number              `json:"reject"`
	FAR     number              `json:"far"`
	Net     int64               `json:"net_us"`
	Sample  int64               `json:"at_sample"`
	Scores  int                 `json:"scores"`
	Final   bool                `json:"final"`
	Quality struct {
		Net           int64  `json:"net_us"`
		SNR           number `json:"snr_db"`
		Level         number `json:"level_db"`
		Clipped       number `json:"clipped"`
		Edge          number `json:"edge_hz"`
		Reverberation number `json:"reverberation_s"`
		Music         number `json:"music"`
		Unlike        number `json:"unlike"`
	} `json:"quality"`
	Model       string   `json:"model"`
	Dim         int      `json:"dim"`
	Calibration string   `json:"calibration"`
	Trained     string   `json:"trained"`
	Templates   []string `json:"templates,omitempty"`
	Signs       []sign   `json:"spoof,omitempty"`
	// Looks are net microseconds, and the evidence and the threshold in nats.
	Looks [][3]number `json:"looks,omitempty"`
}

type sign struct {
	Name        string `json:"name"`
	Strength    number `json:"strength"`
	Probability number `json:"probability"`
	Evidence    string `json:"evidence"`
}

func detailOf(c *Comparison) detail {
	d, q := &c.Decision, &c.Decision.Quality
	out := detail{
		Took: c.Took.Microseconds(), Reasons: d.Reasons, Accept: number(d.Accept), Reject: number(d.Reject), FAR: number(d.FAR),
		Net: d.Net.Microseconds(), Sample: d.At, Scores: d.Scores, Final: d.Final,
		Model: d.Info.Model.ID, Dim: d.Info.Model.Dim, Calibration: d.Info.Calibration, Trained: d.Info.Trained, Templates: c.Templates,
	}
	o := &out.Quality
	o.Net, o.SNR, o.Level, o.Clipped = q.Net.Microseconds(), number(q.SNR), number(q.Level), number(q.Clipped)
	o.Edge, o.Reverberation, o.Music, o.Unlike = number(q.Edge), number(q.Reverberation), number(q.Music), number(q.Unlike)
	out.Signs = signsOf(c.Signs)
	for _, l := range c.Looks {
		out.Looks = append(out.Looks, [3]number{number(l.Net.Microseconds()), number(l.LLR), number(l.Accept)})
	}
	return out
}

func signsOf(signs []Sign) []sign {
	var out []sign
	for _, g := range signs {
		out = append(out, sign{g.Name, number(g.Strength), number(g.Probability), g.Evidence})
	}
	return out
}

// Amend sets the signs of a decision, of which more can show until the leg is over,
// and says whose it is. One that was erased meanwhile stays so: nobody's.
func Amend(ctx context.Context, tx *store.Tx, id string, signs []Sign) (person string, err error) {
	var text string
	err = tx.QueryRow(ctx, `SELECT person, detail FROM voice_comparisons WHERE id = ?`, store.Clean(id)).Scan(&person, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ledger: %w", err)
	}
	var d detail
	if err = json.Unmarshal([]byte(text), &d); err != nil {
		return "", fmt.Errorf("ledger: comparison %s: %w", id, err)
	}
	d.Signs = signsOf(signs)
	b, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("ledger: %w", err)
	}
	_, err = tx.Exec(ctx, `UPDATE voice_comparisons SET detail = ? WHERE id = ?`, store.Clean(string(b)), store.Clean(id))
	return person, err
}

func micro(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

// into is the other way round.
func (in *detail) into(c *Comparison) {
	c.Took, c.Templates = micro(in.Took), in.Templates
	d, o := &c.Decision, &in.Quality
	d.Reasons, d.Accept, d.Reject, d.FAR = in.Reasons, float64(in.Accept), float64(in.Reject), float64(in.FAR)
	d.Net, d.At, d.Scores, d.Final = micro(in.Net), in.Sample, in.Scores, in.Final
	d.Info = voiceprint.Info{Model: voiceprint.Model{ID: in.Model, Dim: in.Dim}, Calibration: in.Calibration, Trained: in.Trained}
	d.Quality = voiceprint.Quality{
		Net: micro(o.Net), SNR: float64(o.SNR), Level: float64(o.Level), Clipped: float64(o.Clipped), Edge: float64(o.Edge),
		Reverberation: float64(o.Reverberation), Music: float64(o.Music), Unlike: float64(o.Unlike),
	}
	for _, g := range in.Signs {
		c.Signs = append(c.Signs, Sign{g.Name, float64(g.Strength), float64(g.Probability), g.Evidence})
	}
	for _, l := range in.Looks {
		c.Looks = append(c.Looks, Look{micro(int64(l[0])), float64(l[1]), float64(l[2])})
	}
}

// maxList bounds one page.
const maxList = 200

// Filter chooses decisions; what is empty chooses all.
type Filter struct {
	Person, Call string
	// Outcome is that of voiceprint.Outcome's String.
	Outcome string
	// From is in, To is out.
	From, To time.Time
	// Limit is how many to list at most; 0, or more, means 200.
	Limit int
	// Before is the id of the last one of the page before.
	Before string
}

// List lists decisions, the newest first.
func List(ctx context.Context, from store.Querier, f Filter) ([]Comparison, error) {
	cond, args := []string{`1 = 1`}, []any{}
	for _, c := range []struct {
		set  bool
		cond string
		arg  any
	}{
		{f.Person != "", `person = ?`, store.Clean(f.Person)},
		{f.Call != "", `call = ?`, store.Clean(f.Call)},
		{f.Outcome != "", `outcome = ?`, store.Clean(f.Outcome)},
		{!f.From.IsZero(), `at >= ?`, f.From.UnixMicro()},
		{!f.To.IsZero(), `at < ?`, f.To.UnixMicro()},
		{f.Before != "", `id < ?`, store.Clean(f.Before)},
	} {
		if c.set {
			cond, args = append(cond, c.cond), append(args, c.arg)
		}
	}
	if f.Limit <= 0 || f.Limit > maxList {
		f.Limit = maxList
	}
	rows, err := from.Query(ctx, `SELECT id, person, call, leg, at, outcome, llr, detail FROM voice_comparisons WHERE `+strings.Join(cond, ` AND `)+` ORDER BY id DESC LIMIT ?`, append(args, f.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	out := []Comparison{}
	err = store.Rows(rows, func(rows *sql.Rows) error {
		var c Comparison
		var at int64
		var outcome, text string
		serr := rows.Scan(&c.ID, &c.Person, &c.Call, &c.Leg, &at, &outcome, &c.Decision.LLR, &text)
		if serr != nil {
			return serr
		}
		var d detail
		if serr = json.Unmarshal([]byte(text), &d); serr != nil {
			return fmt.Errorf("comparison %s: %w", c.ID, serr)
		}
		d.into(&c)
		c.At = store.Time(at)
		c.Decision.Outcome, serr = voiceprint.ParseOutcome(outcome)
		out = append(out, c)
		return serr
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return out, nil
}
