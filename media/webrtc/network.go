package webrtc

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	pion "github.com/pion/webrtc/v4"

	"sidetone/media/webrtc/whip"
)

// network is what sessions share: the port and the settings.
type network struct {
	settings pion.SettingEngine
	mux      ice.UDPMux // nil where each session has its own port
	log      *slog.Logger
}

// newNetwork opens the shared port, if there is to be one.
func newNetwork(cfg *Config) (*network, error) {
	n := &network{log: cfg.Log}
	e := &n.settings
	e.LoggerFactory = loggers{cfg.Log}
	e.SetLite(cfg.Lite)
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.SetNetworkTypes([]pion.NetworkType{pion.NetworkTypeUDP4, pion.NetworkTypeUDP6})
	e.DisableActiveTCP(true)
	e.SetIncludeLoopbackCandidate(cfg.Loopback)
	lost := min(5*time.Second, cfg.Timeout/2)
	e.SetICETimeouts(lost, cfg.Timeout-lost, min(2*time.Second, lost/3))
	keep := func(string) bool { return true }
	if len(cfg.Interfaces) > 0 {
		keep = func(name string) bool { return slices.Contains(cfg.Interfaces, name) }
		e.SetInterfaceFilter(keep)
	}
	if len(cfg.Public) > 0 {
		var external []string
		for _, p := range cfg.Public {
			external = append(external, p.String())
		}
		if err := e.SetICEAddressRewriteRules(pion.ICEAddressRewriteRule{
			External: external, AsCandidateType: pion.ICECandidateTypeHost, Mode: pion.ICEAddressRewriteReplace,
		}); err != nil {
			return nil, fmt.Errorf("the public addresses: %w", err)
		}
	}
	if cfg.FirstPort != 0 {
		if err := e.SetEphemeralUDPPortRange(cfg.FirstPort, cfg.LastPort); err != nil {
			return nil, fmt.Errorf("ports %d to %d: %w", cfg.FirstPort, cfg.LastPort, err)
		}
		return n, nil
	}
	logger := loggers{cfg.Log}.NewLogger("udp")
	if cfg.Listen.Addr().IsValid() && !cfg.Listen.Addr().IsUnspecified() {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(cfg.Listen))
		if err != nil {
			return nil, fmt.Errorf("the port that sessions share: %w", err)
		}
		n.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn, Logger: logger})
	} else {
		opts := []ice.UDPMuxFromPortOption{ice.UDPMuxFromPortWithInterfaceFilter(keep), ice.UDPMuxFromPortWithLogger(logger)}
		if cfg.Loopback {
			opts = append(opts, ice.UDPMuxFromPortWithLoopback())
		}
		mux, err := ice.NewMultiUDPMuxFromPort(int(cfg.Listen.Port()), opts...)
		if err != nil {
			return nil, fmt.Errorf("port %d, which sessions share: %w", cfg.Listen.Port(), err)
		}
		n.mux = mux
	}
	e.SetICEUDPMux(n.mux)
	return n, nil
}

func (n *network) addrs() []net.Addr {
	if n.mux == nil {
		return nil
	}
	return n.mux.GetListenAddresses()
}

func (n *network) close() error {
	if n.mux == nil {
		return nil
	}
	return n.mux.Close()
}

// peer makes a peer connection for the offer. Of header extensions and feedback
// there is none: transport-wide congestion control has browsers send padding,
// which nobody needs for one voice.
func (n *network) peer(o *whip.Offer) (*pion.PeerConnection, error) {
	settings := n.settings
	role := pion.DTLSRoleServer
	if o.Passive() {
		role = pion.DTLSRoleClient
	}
	if err := settings.SetAnsweringDTLSRole(role); err != nil {
		return nil, err
	}
	codecs := &pion.MediaEngine{}
	for _, f := range o.Chosen() {
		channels := uint16(0)
		if f.Channels > 1 {
			channels = uint16(f.Channels)
		}
		if err := codecs.RegisterCodec(pion.RTPCodecParameters{
			RTPCodecCapability: pion.RTPCodecCapability{
				MimeType: "audio/" + f.Name, ClockRate: uint32(f.Clock), Channels: channels, SDPFmtpLine: f.Parameters,
			},
			PayloadType: pion.PayloadType(f.PayloadType),
		}, pion.RTPCodecTypeAudio); err != nil {
			return nil, fmt.Errorf("%v: %w", f, err)
		}
	}
	reports := &interceptor.Registry{}
	if err := pion.ConfigureRTCPReports(reports); err != nil {
		return nil, err
	}
	api := pion.NewAPI(pion.WithMediaEngine(codecs), pion.WithInterceptorRegistry(reports), pion.WithSettingEngine(settings))
	return api.NewPeerConnection(pion.Configuration{})
}

// loggers gives pion's parts a logger. What they say of one connection in
// trouble is for debugging: the session reports how it ended.
type loggers struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (l loggers) NewLogger(scope string) logging.LeveledLogger {
	return logger{l.log.With("part", scope)}
}

type logger struct{ log *slog.Logger }

func (logger) Trace(string)                        {}
func (logger) Tracef(string, ...any)               {}
func (logger) Debug(string)                        {}
func (logger) Debugf(string, ...any)               {}
func (logger) Info(string)                         {}
func (logger) Infof(string, ...any)                {}
func (l logger) Warn(s string)                     { l.log.Debug(s) }
func (l logger) Warnf(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l logger) Error(s string)                    { l.log.Debug(s) }
func (l logger) Errorf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }
