package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"sidetone/internal/wav"
	"sidetone/media"
	"sidetone/media/codec"
	"sidetone/media/rtpsend"
)

const (
	// openTimeout and hangUpTimeout bound the two requests of a call. The
	// server answers the second when it has recognised the last words.
	openTimeout   = 10 * time.Second
	hangUpTimeout = 60 * time.Second
	// maxReply bounds what is read of an answer, in bytes.
	maxReply = 64 << 10
)

// placement is a call to be placed: either through a server's API or straight
// to addresses that are open already.
type placement struct {
	server, agent, call string
	// customer is who the customer is said to be.
	customer string
	to       []string
	codec    string
	audio    *wav.Audio
	// roles and ssrcs choose among the streams of a capture, payloads say what its
	// dynamic payload types stand for.
	roles, ssrcs, payloads []string
}

func callCmd() *cobra.Command {
	var (
		p      placement
		codecs []string
	)
	c := &cobra.Command{
		Use:   "call FILE",
		Short: "Play a recording or a capture as a live call, at the pace of speech",
		Long: `Plays a wav file as RTP in real time, the way a PBX forks a call. The file may
have any sample rate, as 16-bit PCM, mu-law or A-law.

With --server the call is opened through the server's API first and ended
afterwards: channel 1 is the agent and channel 2 the customer; in a mono file
there is only the customer. With --to the packets go to ports that are open
already, channel 1 to the first address and channel 2 to the second. A server
that asks who calls is shown the token (see "sidetone tokens") in SIDETONE_TOKEN.

A capture of tcpdump or Wireshark (pcap, pcapng) is sent as it was captured, with
its loss, jitter and pauses. Its legs are the RTP streams in it, in the order of
their first packets, like the channels of a wav file: of two the first is the
agent and the second the customer, unless --role says otherwise. What dynamic
payload types stand for is read from SIP in the capture, or said by --codec.`,
		Example: `  sidetone call talk.wav --server http://127.0.0.1:8080 --agent ann
  sidetone call talk.wav --server http://127.0.0.1:8080 --agent ann --call test-7 --codec PCMA
  sidetone call talk.wav --to 127.0.0.1:20000,127.0.0.1:20002
  sidetone call talk.pcap --server http://127.0.0.1:8080 --role customer,agent
  sidetone call talk.pcap --server http://127.0.0.1:8080 --ssrc 1a2b3c4d,99 --codec 96=opus/48000/2`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			is, err := isCapture(args[0])
			if err != nil {
				return err
			}
			if is {
				if cmd.Flags().Changed("codec") {
					p.payloads = codecs
				}
				return replay(cmd.Context(), p, args[0], cmd.OutOrStdout())
			}
			if len(p.roles)+len(p.ssrcs) > 0 {
				return errors.New("--role and --ssrc choose among the streams of a capture; the channels of a wav file are agent and customer")
			}
			if len(codecs) != 1 {
				return fmt.Errorf("--codec names %d codecs; a wav file is sent in one", len(codecs))
			}
			p.codec = codecs[0]
			if p.audio, err = readWav(args[0]); err != nil {
				return err
			}
			return placeCall(cmd.Context(), p, cmd.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&p.server, "server", "", "open the call at the server of this `URL`")
	f.StringVar(&p.customer, "customer", "", "who the customer is said to be: their voice is compared with what that person enrolled (with --server)")
	f.StringVar(&p.agent, "agent", "demo", "the agent whose page shows the call (with --server)")
	f.StringVar(&p.call, "call", "", "the call's `id` (with --server); empty: the server makes one up")
	f.StringSliceVar(&p.to, "to", nil, "send to these `addresses`, one for each channel: host:port[,host:port]")
	f.StringSliceVar(&codecs, "codec", []string{"PCMU"}, "send a wav file as PCMU, PCMA, G722 or L16/16000;\nwhat a capture's payload types stand for, such as 96=opus/48000/2")
	f.StringSliceVar(&p.roles, "role", nil, "a capture's legs are these `roles`, in their order: agent,customer,unknown")
	f.StringSliceVar(&p.ssrcs, "ssrc", nil, "a capture's legs are the streams of these `SSRCs`, hexadecimal as the doctor prints them")
	c.MarkFlagsOneRequired("server", "to")
	c.MarkFlagsMutuallyExclusive("server", "to")
	return c
}

func readWav(name string) (*wav.Audio, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a, err := wav.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if a.Samples() == 0 {
		return nil, fmt.Errorf("%s: the file holds no audio", name)
	}
	return a, nil
}

// placeCall plays the audio to where the placement says.
func placeCall(ctx context.Context, p placement, out io.Writer) error {
	format, err := codec.Parse(p.codec)
	if err != nil {
		return err
	}
	if _, err = codec.NewEncoder(format); err != nil {
		return err
	}
	legs, err := rtpsend.Legs(p.audio, format.Rate())
	if err != nil {
		return err
	}
	if p.server != "" {
		return placeAt(ctx, p, format, legs, out)
	}
	if len(p.to) > len(legs) {
		return fmt.Errorf("%d addresses for a file of %d channels", len(p.to), len(legs))
	}
	return play(ctx, format, legs[:len(p.to)], p.to, out)
}

// placeAt opens a call at a server, plays it and ends it.
func placeAt(ctx context.Context, p placement, format codec.Format, legs [][]int16, out io.Writer) error {
	if len(legs) > 2 {
		return fmt.Errorf("the file has %d channels; a call has one or two", len(legs))
	}
	api, err := newCallAPI(p.server)
	if err != nil {
		return err
	}
	roles := []media.Role{media.RoleAgent, media.RoleCustomer}
	var specs []callLeg
	for _, r := range roles[len(roles)-len(legs):] {
		specs = append(specs, callLeg{ID: r.String(), Role: r.String(), Codec: format.String()})
	}
	return api.during(ctx, p, specs, out, func(to []string) error { return play(ctx, format, legs, to, out) })
}

// during opens a call, has its audio sent and ends it, the latter even when ctx
// is over.
func (a *callAPI) during(ctx context.Context, p placement, legs []callLeg, out io.Writer, send func(to []string) error) (err error) {
	opened, err := a.open(ctx, p, legs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.end(context.WithoutCancel(ctx), opened.Call)) }()
	if len(opened.Legs) != len(legs) {
		return fmt.Errorf("%s opened %d legs, not %d", p.server, len(opened.Legs), len(legs))
	}
	fmt.Fprintf(out, "Call %s, the agent's page: %s\n", opened.Call, opened.Pane)
	var to []string
	for i, l := range opened.Legs {
		to = append(to, l.Address)
		fmt.Fprintf(out, "  %-9s RTP to %s, %s\n", l.Role, l.Address, legs[i].Codec)
	}
	return send(to)
}

// play sends each leg to its address.
func play(ctx context.Context, format codec.Format, legs [][]int16, to []string, out io.Writer) error {
	cfg := rtpsend.Config{}
	var dial net.Dialer
	for i, samples := range legs {
		conn, err := dial.DialContext(ctx, "udp", to[i])
		if err != nil {
			return fmt.Errorf("leg %d: %w", i+1, err)
		}
		defer conn.Close()
		cfg.Streams = append(cfg.Streams, rtpsend.Stream{Out: conn, Samples: samples, Format: format})
	}
	bar := newPlayBar(out)
	cfg.Progress = bar.show
	stats, err := rtpsend.Play(ctx, cfg)
	bar.end()
	if err != nil {
		return unheard(err, to)
	}
	var packets uint64
	for _, s := range stats {
		packets += s.Sent
	}
	fmt.Fprintf(out, "Played %d packets in %d legs.\n", packets, len(legs))
	return nil
}

// unheard says it where nobody listens.
func unheard(err error, to []string) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("nobody listens at %s (any more): %w", strings.Join(to, " or "), err)
	}
	return err
}

// playBar shows on a terminal how far the recording is.
type playBar struct {
	out  io.Writer
	bar  *progressbar.ProgressBar
	last time.Duration
}

func newPlayBar(out io.Writer) *playBar {
	b := &playBar{}
	if f, ok := out.(*os.File); ok && interactive(f) {
		b.out = f
	}
	return b
}

func (b *playBar) show(played, total time.Duration) {
	if b.out == nil || played < total && played-b.last < 200*time.Millisecond {
		return
	}
	b.last = played
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(total.Milliseconds(), progressbar.OptionSetWriter(b.out),
			progressbar.OptionSetWidth(32), progressbar.OptionSetPredictTime(false))
	}
	b.bar.Describe(fmt.Sprintf("%v of %v", played.Truncate(time.Second), total.Truncate(time.Second)))
	// The bar fails only when its writer does, and then nobody looks.
	_ = b.bar.Set64(played.Milliseconds())
}

// end closes the bar's line.
func (b *playBar) end() {
	if b.bar != nil {
		fmt.Fprintln(b.out)
	}
}

// callAPI is the server's API, as far as placing a call needs it.
type callAPI struct {
	calls *url.URL
	token string
}

// envToken holds the token that is shown to servers.
const envToken = "SIDETONE_TOKEN"

// openedCall is the answer to POST /v1/calls.
type openedCall struct {
	Call string `json:"call"`
	Legs []struct {
		Role    string `json:"role"`
		Address string `json:"address"`
	} `json:"legs"`
	Pane string `json:"pane"`
}

func newCallAPI(server string) (*callAPI, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("--server %q is no address such as http://127.0.0.1:8080", server)
	}
	return &callAPI{calls: u.JoinPath("v1", "calls"), token: os.Getenv(envToken)}, nil
}

// callLeg is one of the request's legs.
type callLeg struct {
	ID          string `json:"id"`
	Role        string `json:"role"`
	Codec       string `json:"codec"`
	PayloadType uint8  `json:"payload_type,omitempty"`
}

// open opens a call with the given legs, one or two.
func (a *callAPI) open(ctx context.Context, p placement, legs []callLeg) (openedCall, error) {
	body := struct {
		Call     string    `json:"call,omitempty"`
		Agent    string    `json:"agent"`
		Customer string    `json:"customer,omitempty"`
		Legs     []callLeg `json:"legs"`
	}{Call: p.call, Agent: p.agent, Customer: p.customer, Legs: legs}
	var reply openedCall
	b, err := json.Marshal(body)
	if err != nil {
		return reply, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	err = a.request(ctx, http.MethodPost, a.calls, b, &reply)
	return reply, err
}

// end ends the call and waits for its last words.
func (a *callAPI) end(ctx context.Context, call string) error {
	ctx, cancel := context.WithTimeout(ctx, hangUpTimeout)
	defer cancel()
	return a.request(ctx, http.MethodDelete, a.calls.JoinPath(url.PathEscape(call)), nil, nil)
}

// request sends body and decodes the answer into reply, unless that is nil.
func (a *callAPI) request(ctx context.Context, method string, u *url.URL, body []byte, reply any) error {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the server does not answer; is `sidetone serve` running? %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return refusal(res)
	}
	if reply == nil {
		return nil
	}
	if err = json.NewDecoder(io.LimitReader(res.Body, maxReply)).Decode(reply); err != nil {
		return fmt.Errorf("%s %s: the answer is no JSON of a call: %w", method, u, err)
	}
	return nil
}

// refusal makes an error of an answer {"error": ..., "hint": ...}.
func refusal(res *http.Response) error {
	var e struct{ Error, Hint string }
	err := json.NewDecoder(io.LimitReader(res.Body, maxReply)).Decode(&e)
	switch {
	case err != nil || e.Error == "":
		return fmt.Errorf("%s %s: %s", res.Request.Method, res.Request.URL, res.Status)
	case e.Hint == "":
		return fmt.Errorf("the server refused: %s", e.Error)
	default:
		return fmt.Errorf("the server refused: %s (%s)", e.Error, e.Hint)
	}
}
