package asrtest

import (
	"fmt"

	"sidetone/asr"
	"sidetone/asr/stable"
)

// Checker holds the hypotheses of one stream against the contract of
// asr.Hypothesis. The zero value is a stream that has said nothing.
type Checker struct {
	// All are the hypotheses taken, Finals the final ones.
	All, Finals []asr.Hypothesis
}

// Take adds what a call of the stream returned. The error says which rule was
// broken first.
func (c *Checker) Take(hs []asr.Hypothesis) error {
	for i := range hs {
		if err := c.take(&hs[i]); err != nil {
			return fmt.Errorf("utterance %d, revision %d: %w", hs[i].Utterance, hs[i].Revision, err)
		}
	}
	return nil
}

// Texts are the finals' words.
func (c *Checker) Texts() []string {
	var out []string
	for i := range c.Finals {
		out = append(out, c.Finals[i].Text())
	}
	return out
}

func (c *Checker) take(h *asr.Hypothesis) error {
	if err := shape(h); err != nil {
		return err
	}
	if err := c.order(h); err != nil {
		return err
	}
	c.All = append(c.All, *h)
	if h.Final {
		c.Finals = append(c.Finals, *h)
	}
	return nil
}

// shape judges a hypothesis by itself.
func shape(h *asr.Hypothesis) error {
	switch {
	case h.Stable < 0 || h.Stable > len(h.Words):
		return fmt.Errorf("%d of %d words are stable", h.Stable, len(h.Words))
	case h.Final && h.Stable != len(h.Words):
		return fmt.Errorf("a final of whose %d words %d are stable", len(h.Words), h.Stable)
	case h.End < h.Start:
		return fmt.Errorf("it ends at %d and starts at %d", h.End, h.Start)
	}
	at := h.Start
	for i, w := range h.Words {
		switch {
		case w.Text == "":
			return fmt.Errorf("word %d is empty", i)
		case w.Start < at || w.End < w.Start || w.End > h.End:
			return fmt.Errorf("word %d, %q, lies at %d to %d: want it after %d and within the utterance, %d to %d",
				i, w.Text, w.Start, w.End, at, h.Start, h.End)
		case !(w.Confidence >= 0 && w.Confidence <= 1):
			return fmt.Errorf("word %d, %q, has confidence %v", i, w.Text, w.Confidence)
		}
		at = w.End
	}
	return nil
}

// order judges a hypothesis by the ones before it.
func (c *Checker) order(h *asr.Hypothesis) error {
	var last *asr.Hypothesis
	if n := len(c.All); n > 0 && !c.All[n-1].Final {
		last = &c.All[n-1]
	}
	if last == nil {
		switch {
		case h.Utterance != len(c.Finals)+1:
			return fmt.Errorf("it comes after %d finals", len(c.Finals))
		case h.Revision != 1:
			return fmt.Errorf("revisions begin with %d", h.Revision)
		}
		if n := len(c.Finals); n > 0 && h.Start < c.Finals[n-1].Start {
			return fmt.Errorf("it starts at %d, before utterance %d, at %d", h.Start, n, c.Finals[n-1].Start)
		}
		return nil
	}
	switch {
	case h.Utterance != last.Utterance:
		return fmt.Errorf("utterance %d has no final yet", last.Utterance)
	case h.Revision != last.Revision+1:
		return fmt.Errorf("it comes after revision %d", last.Revision)
	case h.Final && len(h.Words) == 0:
		return nil
	case h.Stable < last.Stable:
		return fmt.Errorf("%d words are stable, %d were", h.Stable, last.Stable)
	}
	for i, was := range last.Words[:last.Stable] {
		is := h.Words[i]
		if h.Final && stable.Normal(is.Text) == stable.Normal(was.Text) {
			is.Text = was.Text
		}
		if is != was {
			return fmt.Errorf("stable word %d was %+v and is %+v", i, was, is)
		}
	}
	return nil
}
