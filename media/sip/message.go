package sip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"sidetone/media/siprec"
)

const (
	allow  = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"
	accept = "application/sdp, application/rs-metadata+xml, application/rs-metadata, multipart/mixed"
	// supported are the extensions that a request may require. A 100rel has
	// nothing to do, since we send no provisional response but 100.
	supported = "siprec, timer, 100rel, replaces"
	// maxDatagram is RFC 3261's bound for UDP, section 18.1.1, which sipgo also
	// holds responses to.
	maxDatagram = 1300
	maxHeader   = 1024
)

// dialogID names a dialog, initialID the request that asks for one.
type (
	dialogID  struct{ call, remote, local string }
	initialID struct {
		call, remote string
		seq          uint32
	}
)

func dialogOf(req *sip.Request) dialogID {
	return dialogID{req.CallID().Value(), tag(req.From().Params), tag(req.To().Params)}
}

func tag(p sip.HeaderParams) string {
	t, _ := p.Get("tag")
	return t
}

// refusal is why a request is not granted. The text goes to the other side.
type refusal struct {
	status  int
	warning int // RFC 3261, section 20.43; 0 means 399, miscellaneous
	text    string
	headers []sip.Header
}

func refuse(status, warning int, text string, headers ...sip.Header) *refusal {
	return &refusal{status, warning, text, headers}
}

func unavailable(retry int, text string) *refusal {
	return refuse(503, 0, text, sip.NewHeader("Retry-After", strconv.Itoa(retry)))
}

// bodyRefusal says how an error of siprec.ParseBody is answered.
func bodyRefusal(err error) *refusal {
	switch {
	case errors.Is(err, siprec.ErrTooLarge):
		return refuse(413, 0, err.Error())
	case errors.Is(err, siprec.ErrContentType):
		return refuse(415, 0, err.Error(), sip.NewHeader("Accept", accept))
	default:
		return refuse(400, 0, err.Error())
	}
}

func reason(status int) string {
	switch status {
	case 400:
		return "Bad Request"
	case 405:
		return "Method Not Allowed"
	case 413:
		return "Request Entity Too Large"
	case 415:
		return "Unsupported Media Type"
	case 416:
		return "Unsupported URI Scheme"
	case 420:
		return "Bad Extension"
	case 422:
		return "Session Interval Too Small"
	case 481:
		return "Call/Transaction Does Not Exist"
	case 482:
		return "Loop Detected"
	case 487:
		return "Request Terminated"
	case 488:
		return "Not Acceptable Here"
	case 491:
		return "Request Pending"
	case 503:
		return "Service Unavailable"
	case 505:
		return "Version Not Supported"
	default:
		return "Server Internal Error"
	}
}

// refused builds the response that says why.
func (s *Server) refused(req *sip.Request, r *refusal) *sip.Response {
	res := sip.NewResponseFromRequest(req, r.status, reason(r.status), nil)
	res.SipVersion = "SIP/2.0" // whatever the request's is
	code := r.warning
	if code == 0 {
		code = 399
	}
	text := strings.Map(func(c rune) rune {
		switch {
		case c == '"' || c == '\\':
			return '\''
		case c < ' ' || c == 0x7f:
			return ' '
		}
		return c
	}, r.text)
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "..."
	}
	res.AppendHeader(sip.NewHeader("Warning", fmt.Sprintf("%d sidetone \"%s\"", code, text)))
	for _, h := range r.headers {
		res.AppendHeader(h)
	}
	if r.status == 405 {
		res.AppendHeader(sip.NewHeader("Allow", allow))
	}
	return res
}

// respond sends a response. One that is too large for sipgo's UDP transport goes
// out by the socket itself: there is no other way back.
func (s *Server) respond(tx sip.ServerTransaction, res *sip.Response) error {
	if res.Transport() == "UDP" && s.udp != nil {
		if text := res.String(); len(text) > maxDatagram {
			to, err := net.ResolveUDPAddr("udp", res.Destination())
			if err != nil {
				return err
			}
			_, err = s.udp.WriteTo([]byte(text), to)
			return err
		}
	}
	return tx.Respond(res)
}

// answer refuses a request with a response and one line in the log.
func (s *Server) answer(req *sip.Request, tx sip.ServerTransaction, r *refusal) {
	s.log.Info("SIP request refused", "method", req.Method, "status", r.status, "why", r.text, "source", req.Source())
	if err := s.respond(tx, s.refused(req, r)); err != nil {
		s.log.Warn("a SIP response could not be sent", "status", r.status, "error", err)
	}
}

// invalid checks what every request must have (RFC 3261, section 8.1.1).
func invalid(req *sip.Request) *refusal {
	switch {
	case req.SipVersion != "SIP/2.0":
		return refuse(505, 0, "only SIP/2.0 is spoken here")
	case req.From() == nil || req.To() == nil || req.CallID() == nil || req.CSeq() == nil || req.Via() == nil:
		return refuse(400, 0, "From, To, Call-ID, CSeq and Via are needed")
	case !strings.EqualFold(string(req.CSeq().MethodName), string(req.Method)):
		return refuse(400, 0, "the method in CSeq is another")
	case len(req.GetHeaders("CSeq")) > 1 || len(req.GetHeaders("Call-ID")) > 1 || len(req.GetHeaders("From")) > 1 || len(req.GetHeaders("To")) > 1:
		return refuse(400, 0, "From, To, Call-ID and CSeq must come once")
	case len(lengths(req)) > 1:
		return refuse(400, 0, "Content-Length says two things")
	}
	switch strings.ToLower(req.Recipient.Scheme) {
	case "sip", "sips", "tel", "":
		return nil
	default:
		return refuse(416, 0, "the request's address must be sip:, sips: or tel:")
	}
}

// lengths are the different values of Content-Length.
func lengths(req *sip.Request) []string {
	var all []string
	for _, h := range append(req.GetHeaders("Content-Length"), req.GetHeaders("l")...) {
		if v := strings.TrimSpace(h.Value()); !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	return all
}

// tokens are the elements of all header fields of the names.
func tokens(req *sip.Request, names ...string) []string {
	var all []string
	for _, n := range names {
		for _, h := range req.GetHeaders(n) {
			for t := range strings.SplitSeq(h.Value(), ",") {
				if t = strings.ToLower(strings.TrimSpace(t)); t != "" {
					all = append(all, t)
				}
			}
		}
	}
	return all
}

// unsupported finds extensions that are required and not known here.
func unsupported(req *sip.Request) *refusal {
	known := strings.Split(supported, ", ")
	var unknown []string
	for _, t := range tokens(req, "Require") {
		if !slices.Contains(known, t) {
			unknown = append(unknown, t)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	list := strings.Join(unknown, ", ")
	return refuse(420, 0, "extensions are not known here: "+list, sip.NewHeader("Unsupported", list))
}

// readBody reads the body of a request.
func readBody(req *sip.Request) (*siprec.Body, *refusal) {
	if e := tokens(req, "Content-Encoding", "e"); len(e) > 0 && e[0] != "identity" {
		return nil, refuse(415, 0, "bodies must not be encoded", sip.NewHeader("Accept-Encoding", "identity"))
	}
	contentType := ""
	if h := req.GetHeader("Content-Type"); h != nil {
		contentType = h.Value()
	}
	b, err := siprec.ParseBody(contentType, req.Body())
	if err != nil {
		return nil, bodyRefusal(err)
	}
	return b, nil
}

// interval is what a request says of the session's timer (RFC 4028).
type interval struct {
	// length is zero where there is no timer.
	length time.Duration
	// ours: we refresh the session.
	ours bool
}

// sessionTimer reads Session-Expires. Without Supported: timer nobody would
// refresh the session, so there is no timer.
func sessionTimer(req *sip.Request, least time.Duration) (interval, *refusal) {
	h := req.GetHeader("Session-Expires")
	if h == nil {
		h = req.GetHeader("x")
	}
	if h == nil || !slices.Contains(tokens(req, "Supported", "k", "Require"), "timer") {
		return interval{}, nil
	}
	text, params, _ := strings.Cut(h.Value(), ";")
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
	if err != nil {
		return interval{}, refuse(400, 0, "Session-Expires is no number of seconds")
	}
	i := interval{length: time.Duration(n) * time.Second}
	if i.length < least {
		min := strconv.Itoa(int((least + time.Second - 1) / time.Second))
		return interval{}, refuse(422, 0, "the session interval must be at least "+min+" s", sip.NewHeader("Min-SE", min))
	}
	i.ours = strings.Contains(strings.ReplaceAll(strings.ToLower(params), " ", ""), "refresher=uas")
	return i, nil
}

func (i interval) headers() []sip.Header {
	if i.length == 0 {
		return nil
	}
	who := "uac"
	if i.ours {
		who = "uas"
	}
	return []sip.Header{
		sip.NewHeader("Session-Expires", fmt.Sprintf("%d;refresher=%s", int(i.length/time.Second), who)),
	}
}

// facts are the header fields that tell which call this is.
func facts(req *sip.Request) map[string]string {
	f := map[string]string{"sip.call-id": clip(req.CallID().Value()), "sip.request-uri": clip(req.Recipient.String())}
	for _, h := range req.Headers() {
		name := strings.ToLower(h.Name())
		switch {
		case name == "user-to-user", name == "cisco-guid", name == "session-id", name == "p-asserted-identity", name == "user-agent", strings.HasPrefix(name, "x-") && !secret(name):
			if len(f) < 40 && len(name) < 64 {
				f["sip."+name] = clip(h.Value())
			}
		}
	}
	return f
}

// secret tells header fields that may hold one.
func secret(name string) bool {
	for _, w := range []string{"auth", "key", "token", "secret", "pass"} {
		if strings.Contains(name, w) {
			return true
		}
	}
	return false
}

func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	if len(s) > maxHeader {
		s = strings.ToValidUTF8(s[:maxHeader], "")
	}
	return s
}

// parseIP is an address of a session description; invalid for a host name or an
// unspecified one.
func parseIP(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a.Unmap()
}
