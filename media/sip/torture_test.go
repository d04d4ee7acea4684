package sip

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// tortures are the messages of RFC 4475, by name, composed anew from what the
// RFC says of each. ME is the sender's address. want are the statuses that the
// RFC allows, 0 for silence; but says what comes here instead and why.
var tortures = []struct {
	name string
	want []int
	but  string
	got  int
	text string
}{
	{name: "3.1.1.1 wsinv, short and tortuous INVITE", want: []int{200}, text: "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\nTO :\n sip:vivekg@chair-dnrc.example.com ;   newparam = abc\nfrom   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd8\nMaX-fOrWaRdS: 0068\nCall-ID: wsinv.ndaksdj@192.0.2.1\nContent-Length   : LEN\ncseq: 0009\n  INVITE\nVia  : SIP  /   2.0\n /UDP\n    ME;branch=z9hG4bKwsinv\ns :\nNewFangledHeader:   newfangled value\n continued newfangled value\nUnknownHeaderWithUnusualValue: ;;,,;;,;\nContent-Type: application/sdp\nContact:\n \"Quoted string \\\"\\\"\" <sip:j@127.0.0.1:9> ; newparam =\n      newvalue ;\n  secondparam ; q = 0.33\n\nSDP"},
	{name: "3.1.1.2 intmeth, wide range of characters", want: []int{405, 501}, text: "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\nVia: SIP/2.0/UDP ME;branch=z9hG4bK-.!%66*_+`'~\nTo: \"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7F\" <sip:1_unusual.URI~@example.com>\nFrom: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\xd1\x80\xd0\xb0\";tag=_token~1'+`*%!-.\nCall-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\nMax-Forwards: 255\nextensionHeader-!.%*+_`'~: \xef\xbb\xbf\xe5\xa4\xa7\nContent-Length: 0\n\n"},
	{name: "3.1.1.3 esc01, escapes in addresses", want: []int{200}, text: "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0\nTo: sip:%75se%72@example.com\nFrom: <sip:I%20have%20spaces@example.net>;tag=938\nMax-Forwards: 87\ni: esc01.239409asdfakjkn23onasd0-3234\nCSeq: 234234 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKesc01\nC: application/sdp\nContact:\n  <sip:cal%6Cer@127.0.0.1:9;%6C%72;n%61me=v%61lue%25%34%31>\nContent-Length: LEN\n\nSDP"},
	{name: "3.1.1.4 escnull, escaped nulls", want: []int{405}, text: "REGISTER sip:example.com SIP/2.0\nTo: sip:null-%00-null@example.com\nFrom: sip:null-%00-null@example.com;tag=839923423\nMax-Forwards: 70\nCall-ID: escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd\nCSeq: 14398234 REGISTER\nVia: SIP/2.0/UDP ME;branch=z9hG4bKescnull\nContact: <sip:%00@127.0.0.1:9>\nL:0\n\n"},
	{name: "3.1.1.5 esc02, percent where it is no escape", want: []int{405, 501}, text: "RE%47IST%45R sip:registrar.example.com SIP/2.0\nTo: \"%Z%45\" <sip:resource@example.com>\nFrom: \"%Z%45\" <sip:resource@example.com>;tag=f232jadfj23\nCall-ID: esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf\nVia: SIP/2.0/UDP ME;branch=z9hG4bKesc02\nCSeq: 29344 RE%47IST%45R\nMax-Forwards: 70\nContact: <sip:alias1@127.0.0.1:9>\nl: 0\n\n"},
	{name: "3.1.1.6 lwsdisp, no space before <", want: []int{200}, text: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: caller<sip:caller@example.com>;tag=323\nMax-Forwards: 70\nCall-ID: lwsdisp.1234abcd@funky.example.com\nCSeq: 60 OPTIONS\nVia: SIP/2.0/UDP ME;branch=z9hG4bKlwsdisp\nl: 0\n\n"},
	{name: "3.1.1.7 longreq, long values", want: []int{200}, text: "INVITE sip:user@example.com SIP/2.0\nTo: \"I have a user name of " + strings.Repeat("extreme ", 20) + "proportion\"<sip:user@example.com:6000;unknownparam1=very" + strings.Repeat("long", 20) + "value;shortparam>\nF: sip:" + strings.Repeat("amazinglylongcallername", 10) + "@example.net;tag=12" + strings.Repeat("982", 50) + "424;unknownheaderparam" + strings.Repeat("name", 20) + "=value\nCall-ID: longreq.one" + strings.Repeat("really", 20) + "longcallid\nCSeq: 3882340 INVITE\nUnknown-" + strings.Repeat("Long-", 20) + "Name: unknown-" + strings.Repeat("long-", 20) + "value\nVia: SIP/2.0/UDP ME;branch=z9hG4bKlongreq\nVia: SIP/2.0/TCP sip33.example.com;branch=very" + strings.Repeat("long", 50) + "branchvalue\nMax-Forwards: 70\nContact: <sip:amazinglylongcallername@127.0.0.1:9>\nContent-Type: application/sdp\nl: LEN\n\nSDP"},
	{name: "3.1.1.8 dblreq, something after the body", want: []int{405}, text: "REGISTER sip:example.com SIP/2.0\nTo: sip:j.user@example.com\nFrom: sip:j.user@example.com;tag=43251j3j324\nMax-Forwards: 8\nI: dblreq.0ha0isndaksdj99sdfafnl3lk233412\nContact: sip:j.user@127.0.0.1:9\nCSeq: 8 REGISTER\nVia: SIP/2.0/UDP ME;branch=z9hG4bKdblreq\nContent-Length: 0\n\nINVITE sip:joe@example.com SIP/2.0\nt: sip:joe@example.com\n"},
	{name: "3.1.1.9 semiuri, semicolons in the user part", want: []int{200}, text: "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0\nTo: sip:j_user@example.com\nFrom: sip:caller@example.org;tag=33242\nMax-Forwards: 3\nCall-ID: semiuri.0ha0isndaksdj\nCSeq: 8 OPTIONS\nAccept: application/sdp, application/pkcs7-mime\nVia: SIP/2.0/UDP ME;branch=z9hG4bKsemiuri\nl: 0\n\n"},
	{name: "3.1.1.10 transports, all kinds in Via", want: []int{200}, text: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: <sip:caller@example.com>;tag=323\nMax-Forwards: 70\nCall-ID: transports.kijh4akdnaqjkwendsasfdj\nAccept: application/sdp\nCSeq: 60 OPTIONS\nVia: SIP/2.0/UDP ME;branch=z9hG4bKtransports\nVia: SIP/2.0/SCTP t1.example.com;branch=z9hG4bKa\nVia: SIP/2.0/TLS t2.example.com;branch=z9hG4bKb\nVia: SIP/2.0/UNKNOWN t3.example.com;branch=z9hG4bKc\nl: 0\n\n"},
	{name: "3.1.1.11 mpart01, multipart MESSAGE with binary parts", want: []int{405}, text: "MESSAGE sip:kumiko@example.org SIP/2.0\nVia: SIP/2.0/UDP ME;branch=z9hG4bKmpart01\nMax-Forwards: 70\nFrom: sip:fluffy@example.com;tag=2fb0dcc9\nTo: sip:kumiko@example.org\nCall-ID: mpart01.3d9485ad0c49859b\nCSeq: 1 MESSAGE\nContent-Type: multipart/mixed;boundary=7a9cbec02ceef655\nContent-Length: 90\n\n--7a9cbec02ceef655\nContent-Type: text/plain\n\nHi\n--7a9cbec02ceef655\n\n\x00\x01\x82\n--7a9cbec02ceef655--"},
	{name: "3.1.1.12 unreason, a response to nothing", want: []int{0}, text: "SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe\nVia: SIP/2.0/UDP ME;branch=z9hG4bKunreason\nCall-ID: unreason.1234ksdfak3j2erwedfsASdf\nCSeq: 35 INVITE\nFrom: sip:user@example.com;tag=11141343\nTo: sip:user@example.edu;tag=2229\nContent-Length: 0\n\n"},
	{name: "3.1.1.13 noreason, a response without a phrase", want: []int{0}, text: "SIP/2.0 100 \nVia: SIP/2.0/UDP ME;branch=z9hG4bKnoreason\nCall-ID: noreason.asndj203insdf99223ndf\nCSeq: 35 INVITE\nFrom: <sip:user@example.com>;tag=39ansfi3\nTo: <sip:user@example.edu>;tag=902jndnke3\nContent-Length: 0\n\n"},
	{name: "3.1.2.1 badinv01, extra separators", want: []int{0, 400}, text: "INVITE sip:user@example.com SIP/2.0\nTo: sip:j.user@example.com\nFrom: sip:caller@example.net;tag=134161461246\nMax-Forwards: 7\nCall-ID: badinv01.0ha0isndaksdjasdf3234nas\nCSeq: 8 INVITE\nVia: SIP/2.0/UDP ME;;,;,,\nContact: \"Joe\" <sip:joe@127.0.0.1:9>;;;;\nContent-Length: LEN\nContent-Type: application/sdp\n\nSDP"},
	{name: "3.1.2.2 clerr, Content-Length larger than the body", want: []int{0, 400}, text: "INVITE sip:user@example.com SIP/2.0\nMax-Forwards: 80\nTo: sip:j.user@example.com\nFrom: sip:caller@example.net;tag=93942939o2\nContact: <sip:caller@127.0.0.1:9>\nCall-ID: clerr.0ha0isndaksdjweiafasdk3\nCSeq: 8 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKclerr\nContent-Type: application/sdp\nContent-Length: 9999\n\nSDP"},
	{name: "3.1.2.3 ncl, negative Content-Length", want: []int{0, 400}, text: "INVITE sip:user@example.com SIP/2.0\nMax-Forwards: 254\nTo: sip:j.user@example.com\nFrom: sip:caller@example.net;tag=32394234\nCall-ID: ncl.0ha0isndaksdj2193423r542w35\nCSeq: 0 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKncl\nContact: <sip:caller@127.0.0.1:9>\nContent-Type: application/sdp\nContent-Length: -999\n\nSDP"},
	{name: "3.1.2.4 scalar02, scalars out of range", want: []int{0, 400}, text: "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/TCP ME;branch=z9hG4bKscalar02;rport\nTo: <sip:user@example.com>\nFrom: <sip:user@example.com>;tag=23443124\nCall-ID: scalar02.23o0pd9vanlq3wnrlnewofjas9ui32\nCSeq: 36893488147419103232 REGISTER\nMax-Forwards: 300\nExpires: 10000000000000000000\nContact: <sip:user@127.0.0.1:9>;expires=280297596632815\nContent-Length: 0\n\n"},
	{name: "3.1.2.5 scalarlg, a response with scalars out of range", want: []int{0}, text: "SIP/2.0 503 Service Unavailable\nVia: SIP/2.0/TCP ME;branch=z9hG4bKscalarlg;rport\nTo: <sip:user@example.com>\nFrom: sip:other@example.net;tag=2easdjfejw\nCSeq: 9292394834772304023312 OPTIONS\nCall-ID: scalarlg.noase0of0234hn2qofoaf0232aewf2394r\nRetry-After: 949302838503028349304023988\nWarning: 1812 overture \"In Progress\"\nContent-Length: 0\n\n"},
	{name: "3.1.2.6 quotbal, unbalanced quotes", want: []int{0, 400}, text: "INVITE sip:user@example.com SIP/2.0\nTo: \"Mr. J. User <sip:j.user@example.com>\nFrom: sip:caller@example.net;tag=93334\nMax-Forwards: 10\nCall-ID: quotbal.aksdj\nContact: <sip:caller@127.0.0.1:9>\nCSeq: 8 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKquotbal\nContent-Type: application/sdp\nContent-Length: LEN\n\nSDP"},
	{name: "3.1.2.7 ltgtruri, <> around the Request-URI", want: []int{0, 400}, text: "INVITE <sip:user@example.com> SIP/2.0\nTo: sip:user@example.com\nFrom: sip:caller@example.net;tag=39291\nMax-Forwards: 23\nCall-ID: ltgtruri.1@192.0.2.5\nCSeq: 1 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKltgtruri\nContact: <sip:caller@127.0.0.1:9>\nContent-Type: application/sdp\nContent-Length: LEN\n\nSDP"},
	{name: "3.1.2.8 lwsruri, white space in the Request-URI", want: []int{0, 400}, text: "INVITE sip:user@example.com; lr SIP/2.0\nTo: sip:user@example.com;tag=3xfe-9921883-z9f\nFrom: sip:caller@example.net;tag=231413434\nMax-Forwards: 5\nCall-ID: lwsruri.asdfasdoeoi2323-asdfwrn23-asd834rk423\nCSeq: 2130706432 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKlwsruri\nContact: <sip:caller@127.0.0.1:9>\nContent-Type: application/sdp\nContent-Length: LEN\n\nSDP"},
	{name: "3.1.2.9 lwsstart, several spaces in the start line", want: []int{0, 400, 200}, text: "INVITE  sip:user@example.com  SIP/2.0\nMax-Forwards: 8\nTo: sip:user@example.com\nFrom: sip:caller@example.net;tag=8814\nCall-ID: lwsstart.dfknq234oi243099adsdfnawe3@example.com\nCSeq: 1893884 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKlwsstart\nContact: <sip:caller@127.0.0.1:9>\nContent-Type: application/sdp\nContent-Length: LEN\n\nSDP"},
	{name: "3.1.2.10 trws, white space at the end of the start line", want: []int{0, 400, 200}, text: "OPTIONS sip:remote-target@example.com SIP/2.0  \nVia: SIP/2.0/UDP ME;branch=z9hG4bKtrws\nTo: <sip:remote-target@example.com>\nFrom: <sip:local-resource@example.com>;tag=329429089\nCall-ID: trws.oicu34958239neffasdhr2345r\nAccept: application/sdp\nCSeq: 238923 OPTIONS\nMax-Forwards: 70\nContent-Length: 0\n\n"},
	{name: "3.1.2.11 escruri, escaped headers in the Request-URI", want: []int{0, 400, 200}, text: "INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0\nTo: sip:user@example.com\nFrom: sip:caller@example.net;tag=341518\nMax-Forwards: 7\nContact: <sip:caller@127.0.0.1:9>\nCall-ID: escruri.23940-asdfhj-aje3br-234q098w-fawerh2q-h4n5\nCSeq: 149209342 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKescruri\nContent-Type: application/sdp\nContent-Length: LEN\n\nSDP"},
	{name: "3.1.2.12 baddate, a date in another zone", want: []int{0, 400, 200}, text: "INVITE sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: sip:caller@example.net;tag=2234923\nMax-Forwards: 70\nCall-ID: baddate.239423mnsadf3j23lj42--sedfnm234\nCSeq: 1392934 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKbaddate\nDate: Fri, 01 Jan 2010 16:00:00 EST\nContact: <sip:caller@127.0.0.1:9>\nContent-Type: application/sdp\nContent-Length: LEN\n\nSDP"},
	{name: "3.1.2.13 regbadct, Contact with a bare query", want: []int{0, 400, 405}, text: "REGISTER sip:example.com SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=998332\nMax-Forwards: 70\nCall-ID: regbadct.k345asrl3fdbv@10.0.0.1\nCSeq: 1 REGISTER\nVia: SIP/2.0/UDP ME;branch=z9hG4bKregbadct\nContact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\nl: 0\n\n"},
	{name: "3.1.2.14 badaspec, spaces within an address", want: []int{0, 400, 200}, text: "OPTIONS sip:user@example.org SIP/2.0\nVia: SIP/2.0/UDP ME;branch=z9hG4bKbadaspec\nMax-Forwards: 70\nFrom: \"Bell, Alexander\" <sip:a.g.bell@example.com>;tag=433423\nTo: \"Watson, Thomas\" < sip:t.watson@example.org >\nCall-ID: badaspec.sdf0234n2nds0a099u23h3hnnw009cdkne3\nAccept: application/sdp\nCSeq: 3923239 OPTIONS\nl: 0\n\n"},
	{name: "3.1.2.15 baddn, a display name without quotes", want: []int{0, 400, 200}, text: "OPTIONS sip:t.watson@example.org SIP/2.0\nVia: SIP/2.0/UDP ME;branch=z9hG4bKbaddn\nMax-Forwards: 70\nFrom: Bell, Alexander <sip:a.g.bell@example.com>;tag=43\nTo: Watson, Thomas <sip:t.watson@example.org>\nCall-ID: baddn.31415@c.example.com\nAccept: application/sdp\nCSeq: 3923239 OPTIONS\nl: 0\n\n"},
	{name: "3.1.2.16 badvers, version 7", want: []int{0, 505}, text: "OPTIONS sip:t.watson@example.org SIP/7.0\nVia: SIP/7.0/UDP ME;branch=z9hG4bKbadvers\nMax-Forwards: 70\nFrom: A. Bell <sip:a.g.bell@example.com>;tag=qweoiqpe\nTo: T. Watson <sip:t.watson@example.org>\nCall-ID: badvers.31417@c.example.com\nCSeq: 1 OPTIONS\nl: 0\n\n"},
	{name: "3.1.2.17 mismatch01, another method in CSeq", want: []int{400}, text: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:j.user@example.com\nFrom: sip:caller@example.net;tag=34525\nMax-Forwards: 6\nCall-ID: mismatch01.dj0234sxdfl3\nCSeq: 8 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKmismatch01\nl: 0\n\n"},
	{name: "3.1.2.18 mismatch02, another unknown method in CSeq", want: []int{400, 405, 501}, text: "NEWMETHOD sip:user@example.com SIP/2.0\nTo: sip:j.user@example.com\nFrom: sip:caller@example.net;tag=34525\nMax-Forwards: 6\nCall-ID: mismatch02.dj0234sxdfl3\nCSeq: 8 INVITE\nContact: <sip:caller@127.0.0.1:9>\nVia: SIP/2.0/UDP ME;branch=z9hG4bKmismatch02\nContent-Type: application/sdp\nl: LEN\n\nSDP"},
	{name: "3.1.2.19 bigcode, a response with a huge status", want: []int{0}, text: "SIP/2.0 4294967301 better not break the receiver\nVia: SIP/2.0/UDP ME;branch=z9hG4bKbigcode\nCall-ID: bigcode.asdof3uj203asdnf3429uasdhfas3ehjasdfas9i\nCSeq: 353494 INVITE\nFrom: <sip:user@example.com>;tag=39ansfi3\nTo: <sip:user@example.edu>;tag=902jndnke3\nContent-Length: 0\n\n"},
	{name: "3.2.1 badbranch, a branch of the cookie alone", want: []int{200}, text: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: sip:caller@example.org;tag=33242\nMax-Forwards: 3\nVia: SIP/2.0/UDP ME;branch=z9hG4bK\nAccept: application/sdp\nCall-ID: badbranch.sadonfo23i420jv0as0derf3j3n\nCSeq: 8 OPTIONS\nl: 0\n\n"},
	{name: "3.3.1 insuf, headers that must be there are not", want: []int{400}, text: "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKinsuf\nContent-Type: application/sdp\nl: LEN\n\nSDP"},
	{name: "3.3.2 unkscm, an unknown scheme", want: []int{416}, text: "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0\nTo: sip:user@example.com\nFrom: sip:caller@example.net;tag=384\nMax-Forwards: 3\nCall-ID: unkscm.nasdfasser0q239nwsdfasdkl34\nCSeq: 3923423 OPTIONS\nVia: SIP/2.0/UDP ME;branch=z9hG4bKunkscm\nContent-Length: 0\n\n"},
	{name: "3.3.3 novelsc, a scheme of another protocol", want: []int{416}, but: "sipgo cannot parse such an address and drops the message", text: "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0\nTo: sip:user@example.com\nFrom: sip:caller@example.net;tag=384\nMax-Forwards: 3\nCall-ID: novelsc.asdfasser0q239nwsdfasdkl34\nCSeq: 3923423 OPTIONS\nVia: SIP/2.0/UDP ME;branch=z9hG4bKnovelsc\nContent-Length: 0\n\n"},
	{name: "3.3.4 unksm2, unknown schemes in From and To", want: []int{400, 405}, text: "REGISTER sip:example.com SIP/2.0\nTo: isbn:2983792873\nFrom: <http://www.example.com>;tag=3234233\nCall-ID: unksm2.daksdj@hyphenated-host.example.com\nCSeq: 234902 REGISTER\nMax-Forwards: 70\nVia: SIP/2.0/UDP ME;branch=z9hG4bKunksm2\nContact: <name:John_Smith>\nl: 0\n\n"},
	{name: "3.3.5 bext01, unknown extensions are required", want: []int{420}, text: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:j_user@example.com\nFrom: sip:caller@example.net;tag=242etr\nMax-Forwards: 6\nCall-ID: bext01.0ha0isndaksdj\nRequire: nothingSupportsThis, nothingSupportsThisEither\nProxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis\nCSeq: 8 OPTIONS\nVia: SIP/2.0/UDP ME;branch=z9hG4bKbext01\nContent-Length: 0\n\n"},
	{name: "3.3.6 invut, an unknown content type", want: []int{415}, text: "INVITE sip:user@example.com SIP/2.0\nContact: <sip:caller@127.0.0.1:9>\nTo: sip:j.user@example.com\nFrom: sip:caller@example.net;tag=8392034\nMax-Forwards: 70\nCall-ID: invut.0ha0isndaksdjadsfij34n23d\nCSeq: 235448 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKinvut\nContent-Type: application/unknownformat\nContent-Length: 40\n\n<audio>\n <pcmu port=\"443\"/>\n</audio>\n\n\n\n\n"},
	{name: "3.3.7 regaut01, an unknown authorisation scheme", want: []int{405}, text: "REGISTER sip:example.com SIP/2.0\nTo: sip:j.user@example.com\nFrom: sip:j.user@example.com;tag=87321hj23128\nMax-Forwards: 8\nCall-ID: regaut01.0ha0isndaksdj\nCSeq: 9338 REGISTER\nVia: SIP/2.0/UDP ME;branch=z9hG4bKregaut01\nAuthorization: NoOneKnowsThisScheme opaque-data=here\nContent-Length:0\n\n"},
	{name: "3.3.8 multi01, headers twice that may stand once", want: []int{400}, text: "INVITE sip:user@company.com SIP/2.0\nContact: <sip:caller@127.0.0.1:9>\nVia: SIP/2.0/UDP ME;branch=z9hG4bKmulti01\nMax-Forwards: 70\nCSeq: 5 INVITE\nCall-ID: multi01.98asdh@192.0.2.1\nCSeq: 59 INVITE\nCall-ID: multi01.98asdh@192.0.2.2\nFrom: sip:caller@example.com;tag=3413415\nTo: sip:user@example.com\nTo: sip:other@example.net\nFrom: sip:caller@example.net;tag=2923420123\nContent-Type: application/sdp\nl: LEN\nContact: <sip:caller@127.0.0.1:10>\nMax-Forwards: 5\n\nSDP"},
	{name: "3.3.9 mcl01, Content-Length twice with different values", want: []int{400}, text: "OPTIONS sip:user@example.com SIP/2.0\nVia: SIP/2.0/UDP ME;branch=z9hG4bKmcl01\nMax-Forwards: 70\nTo: sip:user@example.com\nFrom: sip:other@example.net;tag=3923942\nCall-ID: mcl01.fhn2323orihawfdoa3o4r52o3irsdf\nCSeq: 15932 OPTIONS\nContent-Length: 13\nContent-Length: 5\nContent-Type: text/plain\n\nThere's no way to know how many octets are supposed to be here."},
	{name: "3.3.10 bcast, a response to a broadcast address", want: []int{0}, text: "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23\nCall-ID: bcast.0384840201234ksdfak3j2erwedfsASdf\nCSeq: 35 INVITE\nFrom: sip:user@example.com;tag=11141343\nTo: sip:user@example.edu;tag=2229\nContent-Length: 0\n\n"},
	{name: "3.3.11 zeromf, no hops left", want: []int{200, 483}, text: "OPTIONS sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: sip:caller@example.net;tag=3ghsd41\nCall-ID: zeromf.jfasdlfnm2o2l43r5u0asdfas\nCSeq: 39234321 OPTIONS\nVia: SIP/2.0/UDP ME;branch=z9hG4bKzeromf\nMax-Forwards: 0\nContent-Length: 0\n\n"},
	{name: "3.3.12 cparam01, a parameter in Contact", want: []int{405}, text: "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/UDP ME;branch=z9hG4bKcparam01\nMax-Forwards: 70\nFrom: sip:watson@example.com;tag=DkfVgjkrtMwaerKKpe\nTo: sip:watson@example.com\nCall-ID: cparam01.70710@saturn.example.com\nCSeq: 2 REGISTER\nContact: sip:+19725552222@127.0.0.1;unknownparam\nl: 0\n\n"},
	{name: "3.3.13 cparam02, a parameter in Contact's address", want: []int{405}, text: "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/UDP ME;branch=z9hG4bKcparam02\nMax-Forwards: 70\nFrom: sip:watson@example.com;tag=838293\nTo: sip:watson@example.com\nCall-ID: cparam02.70710@saturn.example.com\nCSeq: 3 REGISTER\nContact: <sip:+19725552222@127.0.0.1;unknownparam>\nl: 0\n\n"},
	{name: "3.3.14 regescrt, an escaped header in Contact", want: []int{405}, text: "REGISTER sip:example.com SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=8\nMax-Forwards: 70\nCall-ID: regescrt.k345asrl3fdbv@192.0.2.1\nCSeq: 14398234 REGISTER\nVia: SIP/2.0/UDP ME;branch=z9hG4bKregescrt\nContact: <sip:user@127.0.0.1?Route=%3Csip:sip.example.com%3E>\nL:0\n\n"},
	{name: "3.3.15 sdp01, only other content is accepted", want: []int{406, 200}, text: "INVITE sip:user@example.com SIP/2.0\nTo: sip:j_user@example.com\nContact: <sip:caller@127.0.0.1:9>\nFrom: sip:caller@example.net;tag=234\nMax-Forwards: 5\nCall-ID: sdp01.ndaksdj9342dasdd\nAccept: text/nobodyKnowsThis\nCSeq: 8 INVITE\nVia: SIP/2.0/UDP ME;branch=z9hG4bKsdp01\nContent-Length: LEN\nContent-Type: application/sdp\n\nSDP"},
	{name: "3.4.1 inv2543, as RFC 2543 wrote them", want: []int{200}, but: "sipgo wants a branch in Via or a tag in From", got: 400, text: "INVITE sip:UserB@example.com SIP/2.0\nVia: SIP/2.0/UDP ME\nFrom: <sip:caller@example.net>\nTo: <sip:UserB@example.com>\nCall-ID: inv2543.1717@ift.client.example.com\nCSeq: 56 INVITE\nContact: <sip:caller@127.0.0.1:9>\nContent-Type: application/sdp\n\nSDP"},
}

// TestTorture sends the messages of RFC 4475: none stops the server, and each is
// answered as the RFC allows, or the difference is named.
func TestTorture(t *testing.T) {
	s, _ := serve(t, nil, func(tm *timing) { tm.t1, tm.ack, tm.request = time.Second, 100*time.Millisecond, 100*time.Millisecond })
	alive := dial(t, s, "UDP")
	for _, m := range tortures {
		t.Run(m.name, func(t *testing.T) {
			conn, err := net.Dial("udp", s.Addr("UDP").String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(tortured(m.text, conn.LocalAddr().String())); err != nil {
				t.Fatal(err)
			}
			want, patience := m.want, patience
			if m.but != "" {
				want = []int{m.got}
			}
			if slices.Contains(want, 0) {
				patience = 100 * time.Millisecond
			}
			got := answered(t, conn, patience)
			if !slices.Contains(want, got) {
				t.Errorf("status %d, want one of %v", got, want)
			}
			if m.but != "" && slices.Contains(m.want, m.got) {
				t.Errorf("%q is no difference", m.but)
			}
			alive.seq++
			if r := alive.ask("OPTIONS", "", ""); r.status() != 200 {
				t.Errorf("the server then answers OPTIONS with %s", r.start)
			}
		})
	}
}

// tortured is a message as it goes out.
func tortured(text, me string) []byte {
	sdp := "v=0\no=mhandley 29739 7272939 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 49217 RTP/AVP 0\n"
	body := strings.ReplaceAll(sdp, "\n", "\r\n")
	text = strings.ReplaceAll(text, "\n", "\r\n")
	return []byte(strings.NewReplacer("ME", me, "LEN", fmt.Sprint(len(body)), "SDP", body).Replace(text))
}

// answered waits for a final response; 0 is silence.
func answered(t *testing.T, conn net.Conn, patience time.Duration) int {
	t.Helper()
	buf := make([]byte, 1<<16)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil {
			return 0
		}
		m, err := reader(bufio.NewReader(bytes.NewReader(buf[:n])))
		if err != nil {
			t.Errorf("a response that cannot be read: %v\n%s", err, buf[:n])
		}
		if strings.HasPrefix(m.start, "SIP/2.0") && m.status() >= 200 {
			return m.status()
		}
	}
}

// TestMutations sends 1,000 damaged INVITEs: whatever comes back is a response
// that can be read, a refusal says why, and the server lives on.
func TestMutations(t *testing.T) {
	s, _ := serve(t, func(c *Config) { c.MaxSessions = 50 }, func(tm *timing) { tm.t1, tm.ack, tm.request = time.Second, 50*time.Millisecond, 50*time.Millisecond })
	rng := rand.New(rand.NewPCG(44, 75))
	c := dial(t, s, "UDP")
	good := c.compose("INVITE", multipart, usual)
	for i := range 1000 {
		b := []byte(strings.Replace(good, c.callID, fmt.Sprint("mutated-", i), 1))
		for range 1 + rng.IntN(5) {
			at := rng.IntN(len(b))
			switch rng.IntN(4) {
			case 0:
				b[at] = byte(rng.IntN(256))
			case 1:
				b = slices.Delete(b, at, min(len(b), at+1+rng.IntN(30)))
			case 2:
				b = slices.Insert(b, at, b[at:min(len(b), at+20)]...)
			default:
				b[at] ^= 1 << rng.IntN(8)
			}
		}
		if _, err := c.conn.Write(b); err != nil {
			t.Fatal(err)
		}
		for len(c.responses) > 0 {
			// sipgo itself refuses what has no Via or CSeq, without words.
			if m := <-c.responses; m.status() > 400 && m.get("warning") == "" {
				t.Errorf("a refusal without a reason: %s\n%s", m.start, b)
			}
		}
		time.Sleep(200 * time.Microsecond)
	}
	out := dial(t, s, "UDP")
	if m := out.ask("OPTIONS", "", ""); m.status() != 200 {
		t.Errorf("the server then answers OPTIONS with %s", m.start)
	}
	eventually(t, "the end of the sessions", func() bool {
		for len(c.responses) > 0 {
			<-c.responses
		}
		return s.Sessions() == 0
	})
}
