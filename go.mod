module sidetone

go 1.26.0

require (
	filippo.io/age v1.3.2 // files encrypted at rest, in a format that other tools open
	github.com/beevik/ntp v1.6.0 // asks time servers, for `sidetone doctor`
	github.com/blevesearch/bleve/v2 v2.6.3 // full-text index of the knowledge base, English and Chinese
	github.com/blevesearch/bleve_index_api v1.4.1 // bleve's index settings (types that bleve's API takes)
	github.com/chromedp/cdproto v0.159.0 // protocol types for chromedp; tests only
	github.com/chromedp/chromedp v0.23.0 // drives Chromium; tests only
	github.com/coreos/go-oidc/v3 v3.21.0 // logins by OpenID Connect: discovery, keys, id tokens
	github.com/coreos/go-systemd/v22 v22.7.0 // tells the service manager that the server is ready
	github.com/emiago/sipgo v1.7.2 // SIP messages, transactions and transports
	github.com/goccy/go-yaml v1.19.2 // YAML with line numbers in errors and strict keys
	github.com/gopacket/gopacket v1.7.7 // reads packet captures for `sidetone doctor` and `call`
	github.com/gorilla/websocket v1.5.3 // WebSocket to the panes
	github.com/jackc/pgx/v5 v5.12.0 // PostgreSQL, where one machine is not enough
	github.com/mewkiz/flac v1.0.14 // writes FLAC frames and headers
	github.com/nats-io/nats-server/v2 v2.15.2 // JetStream in the process: the journal
	github.com/nats-io/nats.go v1.55.0 // client of JetStream
	github.com/nats-io/nuid v1.0.1 // unique ids of the journal's processes
	github.com/pion/ice/v4 v4.4.8 // the UDP port that WebRTC sessions share
	github.com/pion/interceptor v0.1.51 // receiver reports of WebRTC sessions
	github.com/pion/logging v0.2.4 // how the WebRTC libraries log
	github.com/pion/opus v0.1.0 // Opus decoder
	github.com/pion/rtcp v1.2.20 // RTCP packets
	github.com/pion/rtp v1.10.6 // RTP packets
	github.com/pion/srtp/v3 v3.1.3 // SRTP ciphers and key derivation
	github.com/pion/stun/v4 v4.0.1 // connectivity checks; tests only
	github.com/pion/transport/v5 v5.1.4 // the interface of srtp's replay windows
	github.com/pion/webrtc/v4 v4.2.26 // peer connections for WHIP
	github.com/pressly/goose/v3 v3.29.0 // migrations of the database
	github.com/prometheus/client_golang v1.25.0 // metrics
	github.com/schollz/progressbar/v3 v3.19.1 // progress bars of downloads and playing
	github.com/spf13/cobra v1.10.2 // verbs, flags and help
	github.com/zaf/g711 v1.4.0 // G.711, from which the tables are made
	go.opentelemetry.io/otel v1.47.0 // spans of traces of calls
	go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp v1.47.0 // carries traces to a collector
	go.opentelemetry.io/otel/sdk v1.47.0 // queues and exports spans
	go.opentelemetry.io/otel/trace v1.47.0 // spans' identifiers and contexts
	go.opentelemetry.io/proto/otlp v1.11.0 // what a collector receives; tests only
	go.uber.org/goleak v1.3.0 // goroutine leaks; tests only
	golang.org/x/crypto v0.58.0 // argon2id of passwords
	golang.org/x/oauth2 v0.37.0 // code exchange of OpenID Connect, with PKCE
	golang.org/x/sys v0.49.0 // processor features
	golang.org/x/term v0.47.0 // passwords are typed unseen
	golang.org/x/text v0.43.0 // Unicode normal forms
	golang.org/x/time v0.16.0 // rate limits
	gonum.org/v1/gonum v0.17.0 // FFT of the mel features, linear algebra of the voice space
	gonum.org/v1/plot v0.17.0 // charts of the report of `sidetone bench load`
	google.golang.org/protobuf v1.36.12 // reads what a trace collector receives; tests only
	modernc.org/sqlite v1.62.0 // SQLite without C
)

require golang.org/x/sync v0.24.0

require (
	codeberg.org/go-fonts/liberation v0.5.0 // indirect
	codeberg.org/go-latex/latex v0.2.0 // indirect
	codeberg.org/go-pdf/fpdf v0.11.1 // indirect
	filippo.io/hpke v0.4.0 // indirect
	git.sr.ht/~sbinet/gg v0.7.0 // indirect
	github.com/RoaringBitmap/roaring/v2 v2.14.5 // indirect
	github.com/ajstarks/svgo v0.0.0-20211024235047-1546f124cd8b // indirect
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/bits-and-blooms/bitset v1.24.2 // indirect
	github.com/blevesearch/geo v0.2.8 // indirect
	github.com/blevesearch/go-faiss v1.1.5 // indirect
	github.com/blevesearch/go-porterstemmer v1.0.3 // indirect
	github.com/blevesearch/gtreap v0.1.1 // indirect
	github.com/blevesearch/mmap-go v1.2.0 // indirect
	github.com/blevesearch/scorch_segment_api/v2 v2.4.11 // indirect
	github.com/blevesearch/segment v0.9.1 // indirect
	github.com/blevesearch/snowballstem v0.9.0 // indirect
	github.com/blevesearch/upsidedown_store_api v1.0.2 // indirect
	github.com/blevesearch/vellum v1.2.1 // indirect
	github.com/blevesearch/zapx/v11 v11.4.3 // indirect
	github.com/blevesearch/zapx/v12 v12.4.3 // indirect
	github.com/blevesearch/zapx/v13 v13.4.3 // indirect
	github.com/blevesearch/zapx/v14 v14.4.3 // indirect
	github.com/blevesearch/zapx/v15 v15.4.3 // indirect
	github.com/blevesearch/zapx/v16 v16.3.4 // indirect
	github.com/blevesearch/zapx/v17 v17.2.5 // indirect
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dustin/go-humanize v1.1.0 // indirect
	github.com/go-jose/go-jose/v4 v4.1.4 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/gobwas/pool v0.2.1 // indirect
	github.com/gobwas/ws v1.3.2 // indirect
	github.com/golang/freetype v0.0.0-20170609003504-e2365dfdc4a0 // indirect
	github.com/golang/snappy v1.0.0 // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/grpc-ecosystem/grpc-gateway/v2 v2.30.0 // indirect
	github.com/icholy/digest v1.2.0 // indirect
	github.com/icza/bitio v1.1.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/json-iterator/go v1.1.12 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/mewkiz/pkg v0.0.0-20250417130911-3f050ff8c56d // indirect
	github.com/mewpkg/term v0.0.0-20241026122259-37a80af23985 // indirect
	github.com/mfridman/interpolate v0.0.2 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/mitchellh/colorstring v0.0.0-20190213212951-d06e56a500db // indirect
	github.com/modern-go/concurrent v0.0.0-20180306012644-bacd9c7ef1dd // indirect
	github.com/modern-go/reflect2 v1.0.2 // indirect
	github.com/mschoch/smat v0.2.0 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/nats-io/jwt/v2 v2.8.2 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/ncruces/go-strftime v1.1.0 // indirect
	github.com/pion/datachannel v1.6.3 // indirect
	github.com/pion/dtls/v3 v3.1.15 // indirect
	github.com/pion/mdns/v2 v2.2.2 // indirect
	github.com/pion/randutil v0.1.0 // indirect
	github.com/pion/sctp v1.12.0 // indirect
	github.com/pion/sdp/v3 v3.0.20 // indirect
	github.com/pion/turn/v5 v5.1.3 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/wlynxg/anet v0.0.5 // indirect
	go.etcd.io/bbolt v1.4.0 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel/exporters/otlp/otlptrace v1.47.0 // indirect
	go.opentelemetry.io/otel/log v1.47.0 // indirect
	go.opentelemetry.io/otel/metric v1.47.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	golang.org/x/image v0.30.0 // indirect
	golang.org/x/net v0.61.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20261005182115-fad411399dd8 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261005182115-fad411399dd8 // indirect
	google.golang.org/grpc v1.84.0 // indirect
	modernc.org/libc v1.80.1 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
)
