package benchpeer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"sidetone/bench"
)

// link is a child that is served in this process.
func link(t *testing.T, f Recognise) (*Child, func() error) {
	t.Helper()
	in, requests := io.Pipe()
	answers, out := io.Pipe()
	served := make(chan error, 1)
	go func() {
		err := Serve(t.Context(), in, out, "test 1", f)
		out.CloseWithError(io.EOF)
		in.Close()
		served <- err
	}()
	c, err := connect("test", requests, answers, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return c, func() error { return errors.Join(c.Close(), <-served) }
}

func TestAskAndServe(t *testing.T) {
	var asked []Request
	var heard []int16
	c, end := link(t, func(_ context.Context, x []int16, q Request) (Answer, error) {
		asked, heard = append(asked, q), x
		if q.Context == 7 {
			return Answer{Text: "lost"}, errors.New("a context of 7")
		}
		return Answer{Text: "heard\n", Tokens: len(x), Wall: 99, Words: []bench.TimedWord{{Text: "heard", End: 1}}}, nil
	})
	if c.Ready != "test 1" {
		t.Errorf("ready %q", c.Ready)
	}
	a, err := c.Ask([]int16{1, -2, 300}, Request{Samples: 9, Context: 300, MaxTokens: 4, Words: true})
	if err != nil || a.Text != "heard\n" || a.Tokens != 3 || len(a.Words) != 1 || a.Wall >= 99 || a.Wall <= 0 {
		t.Errorf("%+v, %v", a, err)
	}
	if want := (Request{Samples: 3, Context: 300, MaxTokens: 4, Words: true}); asked[0] != want || !reflect.DeepEqual(heard, []int16{1, -2, 300}) {
		t.Errorf("served %+v with %v", asked[0], heard)
	}
	if _, err := c.Ask(nil, Request{Context: 7}); err == nil || !strings.Contains(err.Error(), "test: a context of 7") {
		t.Errorf("error %v", err)
	}
	if a, err := c.Ask(nil, Request{}); err != nil || a.Tokens != 0 {
		t.Errorf("after an error: %+v, %v", a, err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if _, err := c.Ask(nil, Request{}); err == nil {
		t.Error("asked after the end")
	}
}

func TestConnectErrors(t *testing.T) {
	for name, c := range map[string]struct{ says, want string }{
		"nothing":      {"", "did not start"},
		"no JSON":      {"hello\n", "does not say that it is ready"},
		"not ready":    {"{}\n", "does not say that it is ready"},
		"no line":      {`{"ready":"x"}`, "did not start"},
		"endless line": {strings.Repeat("x", maxLine+5000), "a line of more than"},
	} {
		w := nopCloser{io.Discard}
		if _, err := connect("peer", w, strings.NewReader(c.says), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
	w := nopCloser{io.Discard}
	c, err := connect("peer", w, strings.NewReader("{\"ready\":\"x\"}\n{\"tokens\":-1}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ask(nil, Request{}); err == nil || !strings.Contains(err.Error(), "impossible figures") {
		t.Errorf("impossible figures: %v", err)
	}
	if _, err := c.Ask(nil, Request{}); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("gone: %v", err)
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func TestServeErrors(t *testing.T) {
	f := func(context.Context, []int16, Request) (Answer, error) { return Answer{}, nil }
	for name, c := range map[string]struct{ asks, want string }{
		"no JSON":     {"decode\n", "cannot be read"},
		"negative":    {"{\"samples\":-1}\n", "-1 samples"},
		"too many":    {"{\"samples\":1000000000}\n", "1000000000 samples"},
		"none come":   {"{\"samples\":3}\nab", "without its 3 samples"},
		"half a line": {"{}", "EOF"},
	} {
		if err := Serve(t.Context(), strings.NewReader(c.asks), io.Discard, "x", f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
	var b bytes.Buffer
	if err := Serve(t.Context(), strings.NewReader(""), &b, "x", f); err != nil || b.String() != "{\"ready\":\"x\"}\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"text":"a","tokens":3,"wall":0.1,"cpu":0.1,"encode":0.05,"words":[{"text":"a","start":0,"end":1}]}`))
	f.Add([]byte(`{"error":"x"}`))
	f.Add([]byte(`{"wall":-1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := readAnswer(line)
		if err == nil && (a.Wall < 0 || a.CPU < 0 || a.Encode < 0 || a.Tokens < 0 || a.Error != "") {
			t.Errorf("taken: %+v", a)
		}
	})
}
