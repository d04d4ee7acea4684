package port

import (
	"encoding/base64"
	"testing"

	"github.com/pion/srtp/v3"
)

// sealAll seals packets 0 to n-1 under testKey, as a foreign sender would.
func sealAll(t testing.TB, n int) [][]byte {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(testKey)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := srtp.CreateContext(key[:16], key[16:], srtp.ProtectionProfileAes128CmHmacSha1_80)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for i := range n {
		b, err := ctx.EncryptRTP(nil, rtpPacket(i), nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}
