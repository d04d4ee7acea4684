package fork

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sidetone/media"
)

func TestCloseFor(t *testing.T) {
	long := strings.Repeat("ä", 100)
	for _, c := range []struct {
		err  error
		want CloseError
	}{
		{&CloseError{ClosePolicy, "no"}, CloseError{ClosePolicy, "no"}},
		{fmt.Errorf("in start: %w", &CloseError{CloseBadData, "no JSON"}), CloseError{CloseBadData, "no JSON"}},
		{fmt.Errorf("host: %w", media.ErrBusy), CloseError{CloseTryLater, "host: no room for another call"}},
		{media.ErrDraining, CloseError{CloseTryLater, "no more calls are taken"}},
		{media.ErrDuplicate, CloseError{ClosePolicy, "it is running already"}},
		{errors.New("broken"), CloseError{CloseInternal, "broken"}},
		{errors.New(long), CloseError{CloseInternal, long[:122]}},
	} {
		got := CloseFor(c.err)
		if *got != c.want || len(got.Reason) > MaxReason || !utf8.ValidString(got.Reason) {
			t.Errorf("%v: got %+v, want %+v", c.err, *got, c.want)
		}
	}
}

func TestEndFor(t *testing.T) {
	now := time.Unix(5, 0)
	for _, c := range []struct {
		err  error
		want media.EndState
	}{
		{nil, media.Ended},
		{fmt.Errorf("%w: for 60s", ErrSilent), media.TimedOut},
		{errors.New("connection reset"), media.Lost},
	} {
		if e := EndFor(c.err, now); e.State != c.want || e.Reason == "" || !e.At.Equal(now) {
			t.Errorf("%v: got %+v, want %v", c.err, e, c.want)
		}
	}
}
