package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"sidetone/cmd/sidetone/internal/capture"
	"sidetone/cmd/sidetone/internal/doctor"
	"sidetone/media/codec"
)

// doctorQueue is how many datagrams may wait to be looked at.
const doctorQueue = 4096

func doctorCmd() *cobra.Command {
	var (
		listen []string
		codecs []string
		span   time.Duration
		own    checkupFlags
	)
	c := &cobra.Command{
		Use:   "doctor [FILE.pcap]",
		Short: "Say in words what is wrong: with this installation, or with what a PBX sends",
		Long: `With -c FILE it checks the installation: the configuration and its risks, ports,
limits, models, processor, disk, clock, stores, voices and peers, each with advice; the
exit status is 1 where something will not work. The recogniser hears a built-in
call meanwhile, which tells about how many calls the machine holds. Nothing is
changed, and nobody is asked who is not in the configuration or at --sbc.

Otherwise it looks at what arrives on UDP ports for some time, or at what a capture holds, and
says what it is and what is wrong with it: the codecs, packets that are lost, late
or encrypted, silence, levels, swapped bytes, SIP requests and the recording
metadata in them. It answers nothing and changes nothing.

Where the server runs already, its ports are taken: capture them with tcpdump and
give the file, or stop the server for the time being. Of a capture only UDP is
read: SIP over TCP or TLS is not. sidetone call FILE.pcap plays it into a server.`,
		Example: `  sidetone doctor -c sidetone.yaml
  sidetone doctor -c sidetone.yaml --sbc sip:10.1.0.9:5060 --json
  sidetone doctor --listen 0.0.0.0:20000,0.0.0.0:20002
  sidetone doctor --listen 0.0.0.0:5060 --for 1m
  tcpdump -i any -w call.pcap udp port 5060 or udp portrange 20000-20999
  sidetone doctor call.pcap --codec 96=opus/48000/2`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("config") || own.asJSON || len(own.peers) > 0 {
				if len(args) > 0 || len(listen) > 0 {
					return errors.New("give a capture, --listen, or -c with what belongs to it")
				}
				return own.run(cmd.Context(), cmd.OutOrStdout())
			}
			w, err := newWatch(codecs)
			switch {
			case err != nil:
				return err
			case len(args) == 1 && len(listen) > 0:
				return errors.New("give a capture or --listen, not both")
			case len(args) == 1:
				return examine(args[0], w, cmd.OutOrStdout())
			case len(listen) == 0:
				return errors.New("give -c sidetone.yaml, a capture, or the addresses to listen on: --listen 0.0.0.0:20000")
			case span <= 0:
				return fmt.Errorf("--for %v: listen for a while, such as 15s", span)
			}
			return listenFor(cmd.Context(), w, listen, span, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringSliceVar(&listen, "listen", nil, "UDP `addresses` to look at: host:port[,host:port]")
	f.StringSliceVar(&codecs, "codec", nil, "what dynamic payload types stand for, such as `96=opus/48000/2`")
	f.DurationVar(&span, "for", 15*time.Second, "how long to listen")
	own.add(c)
	return c
}

// newWatch begins to watch, with what is known of dynamic payload types.
func newWatch(codecs []string) (*doctor.Watch, error) {
	w := doctor.New()
	for _, c := range codecs {
		pt, f, err := parsePayload(c)
		if err != nil {
			return nil, err
		}
		w.Announce(pt, f)
	}
	return w, nil
}

// parsePayload reads 96=opus/48000/2.
func parsePayload(s string) (pt uint8, f codec.Format, err error) {
	number, name, ok := strings.Cut(s, "=")
	n, bad := strconv.ParseUint(number, 10, 7)
	if !ok || bad != nil {
		return 0, f, fmt.Errorf("--codec %q: want a payload type and a codec, such as 96=opus/48000/2", s)
	}
	if f, err = codec.Parse(name); err != nil {
		return 0, f, fmt.Errorf("--codec %q: %w", s, err)
	}
	return uint8(n), f, nil
}

// examine looks at a capture.
func examine(name string, w *doctor.Watch, out io.Writer) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	var last time.Time
	stats, err := capture.Read(file, func(d capture.Datagram) error {
		w.Push(d.Payload, d.From, d.To, d.At)
		last = d.At
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if stats.Datagrams == 0 {
		return fmt.Errorf("%s holds no whole UDP datagram: of %d frames %d are pieces of IP packets, %d are cut off and %d are something else, such as TCP; "+
			"capture all of them on the machine of the server with tcpdump -i any -s 0 -w FILE udp, while a call is forked", name, stats.Frames, stats.Fragments, stats.Cut, stats.Other)
	}
	if stats.Fragments > 0 {
		fmt.Fprintf(out, "%d IP packets came in pieces, which are not put together: large SIP messages may be missing. Use TCP for SIP.\n", stats.Fragments)
	}
	if stats.Cut > 0 {
		fmt.Fprintf(out, "%d of %d frames were cut off and are left out; capture with a snapshot length of 0 (tcpdump -s 0).\n", stats.Cut, stats.Frames)
	}
	return w.Write(out, name, last)
}

// listenFor looks at what arrives at addresses for some time, or until ctx ends.
func listenFor(ctx context.Context, w *doctor.Watch, addrs []string, span time.Duration, out, progress io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	type datagram struct {
		b        []byte
		from, to netip.AddrPort
		at       time.Time
	}
	all := make(chan datagram, doctorQueue)
	var conns []*net.UDPConn
	var readers sync.WaitGroup
	defer func() {
		for _, c := range conns {
			c.Close()
		}
		readers.Wait()
	}()
	var names []string
	for _, a := range addrs {
		var cfg net.ListenConfig
		pc, err := cfg.ListenPacket(ctx, "udp", a)
		if err != nil {
			return fmt.Errorf("%w (does the server hold the port? capture with tcpdump and give the file)", err)
		}
		conn := pc.(*net.UDPConn)
		conns = append(conns, conn)
		to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		names = append(names, to.String())
		readers.Go(func() {
			buf := make([]byte, 1<<16)
			for {
				n, from, err := conn.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				select {
				case all <- datagram{append([]byte(nil), buf[:n]...), from, to, time.Now()}:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	where := strings.Join(names, ", ")
	bar := newListenBar(progress, where, span)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case d := <-all:
			w.Push(d.b, d.from, d.to, d.at)
		case <-tick.C:
			// The bar fails only when its writer does, and then nobody looks.
			_ = bar.Add(1)
		case <-ctx.Done():
			until := time.Now()
			for len(all) > 0 {
				d := <-all
				w.Push(d.b, d.from, d.to, d.at)
			}
			_ = bar.Finish()
			return w.Write(out, where, until)
		}
	}
}

// newListenBar counts the seconds, where somebody looks.
func newListenBar(out io.Writer, where string, span time.Duration) *progressbar.ProgressBar {
	if f, ok := out.(*os.File); !ok || !interactive(f) {
		out = io.Discard
	}
	return progressbar.NewOptions64(max(1, int64((span+time.Second-1)/time.Second)), progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription("listening at "+where), progressbar.OptionClearOnFinish())
}
