package watch

import (
	"fmt"
	"slices"
	"time"

	"sidetone/internal/nn"
	"sidetone/voiceprint"
)

// What Links does by default.
const (
	DefaultLinkFAR = 0.001
	DefaultWindow  = 30 * 24 * time.Hour
	DefaultLeast   = 10 * time.Second
	DefaultCalls   = 10000
	// perCustomer is how many calls of one voice for one customer are kept: more
	// tell nothing new.
	perCustomer = 4
	// asked is how many calls of a voice may object to one more.
	asked = 16
)

// LinksConfig shapes NewLinks. Zero values mean the defaults.
type LinksConfig struct {
	Scorer voiceprint.Scorer
	// FAR is the share of calls of new voices that may be put to any voice known.
	FAR float64
	// Window is for how long a call is remembered, Calls how many at most: the oldest
	// are forgotten. 10,000 calls take some 16 MB.
	Window time.Duration
	Calls  int
	// Least is the net speech that a call needs.
	Least time.Duration
}

func (c LinksConfig) withDefaults() (LinksConfig, error) {
	if c.FAR == 0 {
		c.FAR = DefaultLinkFAR
	}
	if c.Window == 0 {
		c.Window = DefaultWindow
	}
	if c.Calls == 0 {
		c.Calls = DefaultCalls
	}
	if c.Least == 0 {
		c.Least = DefaultLeast
	}
	if !(c.FAR > 0 && c.FAR < 0.5) || c.Window < 0 || c.Calls < 1 || c.Least < 0 {
		return c, fmt.Errorf("watch: links at a rate of %v over %v, %d calls of %v; the rate lies between 0 and 0.5, the others are above zero",
			c.FAR, c.Window, c.Calls, c.Least)
	}
	return c, nil
}

// Heard is a call whose voice nobody was verified by.
type Heard struct {
	// Call and Customer are pseudonyms: of the call, and of the customer whom it was
	// about.
	Call, Customer string
	Embedding      voiceprint.Embedding
	Net            time.Duration
	// At is when it ended.
	At time.Time
}

// Link is one voice that called for several customers.
type Link struct {
	// Voice numbers the voice, from 1, for as long as any of its calls is remembered.
	Voice int
	// Customers and Calls are in the order in which they came. Of many calls for one
	// customer the latest are here.
	Customers, Calls []string
	// First and Last are when the first and the last of the calls ended.
	First, Last time.Time
	// LLR is the evidence, in nats, that put the last call to the voice.
	LLR float64
}

// Links groups calls by voice as they come and tells which voices call for several
// customers. A call joins a voice when its mean is clearly the same, by the threshold
// for as many voices as there are, and none of its latest calls is likelier another;
// else it is a new voice. Voices never merge, so one may come to be known as two, but
// a chain of likenesses makes no link. It is not safe for concurrent use.
//
// Give it only the calls that no enrolled voice explains: whoever calls for a client
// or a parent every week is found too, and is for people to judge.
type Links struct {
	config LinksConfig
	model  voiceprint.Model
	anchor anchor
	// calls are in the order of At. voices and means, [voices][Dim], go together.
	calls  []*heard
	voices []*voice
	means  []float32
	named  int

	cosines []float32
}

type heard struct {
	Heard
	voice *voice
}

// voice is the calls of one voice; the latest is last.
type voice struct {
	number int
	calls  []*heard
	llr    float64
}

// NewLinks makes an empty set of voices.
func NewLinks(c LinksConfig) (*Links, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Links{config: c, model: c.Scorer.Info().Model, anchor: newAnchor(c.Scorer)}, nil
}

// Add takes a call. Where its voice is known to have called for another customer too
// the link is returned, else the zero Link, whose Voice is 0. A call that is too
// short, too old, or was added before changes nothing.
func (l *Links) Add(h Heard, now time.Time) (Link, error) {
	if err := unit(h.Embedding, l.model); err != nil {
		return Link{}, fmt.Errorf("watch: the voice of the call %q: %w", h.Call, err)
	}
	l.Expire(now)
	if h.Net < l.config.Least || now.Sub(h.At) > l.config.Window || l.knows(h.Call) {
		return Link{}, nil
	}
	v, llr, err := l.find(h)
	if err != nil {
		return Link{}, fmt.Errorf("watch: the call %q: %w", h.Call, err)
	}
	if v == nil {
		l.named++
		v = &voice{number: l.named}
		l.voices, l.means = append(l.voices, v), append(l.means, h.Embedding...)
	}
	h.Embedding = slices.Clone(h.Embedding)
	kept := &heard{h, v}
	v.llr = llr
	v.calls = insert(v.calls, kept)
	l.calls = insert(l.calls, kept)
	l.mean(v)
	if same := v.of(h.Customer); len(same) > perCustomer {
		l.drop(same[0])
	}
	if len(l.calls) > l.config.Calls {
		l.drop(l.calls[0])
	}
	if link := v.link(); len(link.Customers) > 1 {
		return link, nil
	}
	return Link{}, nil
}

// Expire forgets what is older than the window.
func (l *Links) Expire(now time.Time) {
	for len(l.calls) > 0 && now.Sub(l.calls[0].At) > l.config.Window {
		l.drop(l.calls[0])
	}
}

// Forget drops all calls for a customer, who is erased or has objected.
func (l *Links) Forget(customer string) {
	for _, c := range slices.Clone(l.calls) {
		if c.Customer == customer {
			l.drop(c)
		}
	}
}

// ForgetCalls drops calls that are erased.
func (l *Links) ForgetCalls(calls ...string) {
	for _, c := range slices.Clone(l.calls) {
		if slices.Contains(calls, c.Call) {
			l.drop(c)
		}
	}
}

// Links are all voices that called for several customers, in the order in which they
// were first heard.
func (l *Links) Links() []Link {
	var out []Link
	for _, v := range l.voices {
		if link := v.link(); len(link.Customers) > 1 {
			out = append(out, link)
		}
	}
	return out
}

// Calls are those remembered, the oldest first: added to a new Links in this order
// they make the same voices again, but for what forgotten calls had to say. They hold
// embeddings, so whoever keeps them seals them.
func (l *Links) Calls() []Heard {
	out := make([]Heard, len(l.calls))
	for i, c := range l.calls {
		out[i] = c.Heard
	}
	return out
}

func (l *Links) knows(call string) bool {
	return slices.ContainsFunc(l.calls, func(c *heard) bool { return c.Call == call })
}

// find is the voice that a call belongs to, or nil.
func (l *Links) find(h Heard) (*voice, float64, error) {
	n, dim := len(l.voices), l.model.Dim
	if n == 0 {
		return nil, 0, nil
	}
	l.cosines = slices.Grow(l.cosines[:0], n)[:n]
	nn.MatMulT(l.cosines, n, h.Embedding, dim, l.means, dim, 1, dim, n, 1)
	best := 0
	for i, c := range l.cosines {
		if c > l.cosines[best] {
			best = i
		}
	}
	v := l.voices[best]
	// The side that is known is not longer than it was.
	var net time.Duration
	for _, c := range v.calls {
		net += c.Net
	}
	llr, err := l.config.Scorer.LLR([]voiceprint.Embedding{l.means[best*dim : (best+1)*dim]}, h.Embedding, min(net, h.Net))
	if err != nil || llr < l.anchor.threshold(l.config.FAR, n) {
		return nil, 0, err
	}
	for _, c := range v.calls[max(0, len(v.calls)-asked):] {
		one, err := l.config.Scorer.LLR([]voiceprint.Embedding{c.Embedding}, h.Embedding, min(c.Net, h.Net))
		if err != nil || one < 0 {
			return nil, 0, err
		}
	}
	return v, llr, nil
}

// mean sets the mean of a voice anew from its calls.
func (l *Links) mean(v *voice) {
	i := slices.Index(l.voices, v)
	m := l.means[i*l.model.Dim : (i+1)*l.model.Dim]
	clear(m)
	for _, c := range v.calls {
		nn.Add(m, c.Embedding)
	}
	// Calls that none object to do not cancel each other out.
	if !voiceprint.Unit(m) {
		copy(m, v.calls[len(v.calls)-1].Embedding)
	}
}

func (l *Links) drop(c *heard) {
	l.calls = without(l.calls, c)
	v := c.voice
	if v.calls = without(v.calls, c); len(v.calls) > 0 {
		l.mean(v)
		return
	}
	i := slices.Index(l.voices, v)
	l.voices = slices.Delete(l.voices, i, i+1)
	l.means = slices.Delete(l.means, i*l.model.Dim, (i+1)*l.model.Dim)
}

func (v *voice) of(customer string) []*heard {
	var out []*heard
	for _, c := range v.calls {
		if c.Customer == customer {
			out = append(out, c)
		}
	}
	return out
}

// link is zero where a limit has dropped the only call.
func (v *voice) link() Link {
	if len(v.calls) == 0 {
		return Link{}
	}
	out := Link{Voice: v.number, LLR: v.llr, First: v.calls[0].At, Last: v.calls[len(v.calls)-1].At}
	for _, c := range v.calls {
		out.Calls = append(out.Calls, c.Call)
		if !slices.Contains(out.Customers, c.Customer) {
			out.Customers = append(out.Customers, c.Customer)
		}
	}
	return out
}

// insert keeps the order of At: calls end in another order than they are worked on.
func insert(calls []*heard, c *heard) []*heard {
	i := len(calls)
	for i > 0 && c.At.Before(calls[i-1].At) {
		i--
	}
	return slices.Insert(calls, i, c)
}

func without(calls []*heard, c *heard) []*heard {
	i := slices.Index(calls, c)
	return slices.Delete(calls, i, i+1)
}
