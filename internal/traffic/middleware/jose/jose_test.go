package jose

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sluice/internal/testkit"
	"sluice/internal/traffic/middleware/claims"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// Keys that take time to make, once for all tests.
var (
	rsaKey     = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
	ecKey      = sync.OnceValue(func() *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k })
	ec384, _   = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	ec521, _   = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	_, edwd, _ = ed25519.GenerateKey(rand.Reader)
	shared     = []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
)

// sign makes a token with the library.
func sign(t testing.TB, alg string, key any, id, payload string, head map[string]any) string {
	t.Helper()
	o := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	if id != "" {
		o.ExtraHeaders["kid"] = id
	}
	for name, v := range head {
		o.ExtraHeaders[jose.HeaderKey(name)] = v
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// byHand makes a token with any header, signed with HMAC-SHA256.
func byHand(head, payload string, secret []byte) string {
	e := base64.RawURLEncoding
	text := e.EncodeToString([]byte(head)) + "." + e.EncodeToString([]byte(payload))
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(text))
	return text + "." + e.EncodeToString(m.Sum(nil))
}

func pemOf(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func setOf(t testing.TB, secret bool, keys ...jose.JSONWebKey) *Set {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSet(text, secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verify(s Source, text string, allowed []string) (string, error) {
	token, err := Parse(text, allowed)
	if err != nil {
		return "", err
	}
	payload, err := Verify(context.Background(), s, token)
	return string(payload), err
}

func TestEveryAlgorithm(t *testing.T) {
	keys := map[string]crypto.Signer{"ES256": ecKey(), "ES384": ec384, "ES512": ec521, "EdDSA": edwd}
	for _, a := range rsas {
		keys[a] = rsaKey()
	}
	for _, alg := range Algorithms() {
		var s *Set
		var err error
		var private any = shared
		if k, ok := keys[alg]; ok {
			private = k
			s, err = PublicKeys(pemOf(t, k.Public()))
		} else {
			s, err = Secret(shared)
		}
		if err != nil {
			t.Fatal(err)
		}
		text := sign(t, alg, private, "", `{"sub":"a"}`, nil)
		if got, err := verify(s, text, s.Algorithms()); got != `{"sub":"a"}` || err != nil {
			t.Errorf("%s: got %q, %v", alg, got, err)
		}
		for i, broken := range []string{text[:len(text)-4] + "AAAA", strings.Replace(text, ".", ".e", 1), text[:strings.LastIndexByte(text, '.')+1]} {
			if _, err := verify(s, broken, s.Algorithms()); !Refused(err) {
				t.Errorf("%s: broken token %d: got %v", alg, i, err)
			}
		}
		if _, err := verify(s, text, []string{"ES256K"}); err != ErrAlgorithm {
			t.Errorf("%s: not allowed: got %v", alg, err)
		}
	}
}

// TestConfusion holds that a token cannot choose how it is verified.
func TestConfusion(t *testing.T) {
	public := pemOf(t, rsaKey().Public())
	s, err := PublicKeys(public)
	if err != nil {
		t.Fatal(err)
	}
	published := setOf(t, false, jose.JSONWebKey{Key: rsaKey().Public(), KeyID: "r"}, jose.JSONWebKey{Key: ecKey().Public(), KeyID: "e", Algorithm: "ES256"})
	attacker, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	body := `{"sub":"admin"}`
	der, _ := x509.MarshalPKIXPublicKey(rsaKey().Public())
	own, _ := json.Marshal(jose.JSONWebKey{Key: attacker.Public(), KeyID: "e"})
	e := base64.RawURLEncoding
	for name, text := range map[string]string{
		"HS with the PEM of the public key":    byHand(`{"alg":"HS256"}`, body, public),
		"HS with its trimmed PEM":              byHand(`{"alg":"HS256"}`, body, []byte(strings.TrimSpace(string(public)))),
		"HS with its DER":                      byHand(`{"alg":"HS256","kid":"r"}`, body, der),
		"HS with its modulus":                  byHand(`{"alg":"HS256","kid":"r"}`, body, rsaKey().N.Bytes()),
		"HS with nothing":                      byHand(`{"alg":"HS256"}`, body, nil),
		"none":                                 e.EncodeToString([]byte(`{"alg":"none"}`)) + "." + e.EncodeToString([]byte(body)) + ".",
		"None":                                 e.EncodeToString([]byte(`{"alg":"None"}`)) + "." + e.EncodeToString([]byte(body)) + ".",
		"nOnE with a key":                      byHand(`{"alg":"nOnE","kid":"r"}`, body, public),
		"no alg":                               byHand(`{}`, body, public),
		"alg of another type":                  byHand(`{"alg":["RS256"]}`, body, public),
		"two algs":                             byHand(`{"alg":"RS256","alg":"HS256"}`, body, public),
		"a key of its own":                     sign(t, "ES256", attacker, "", body, map[string]any{"jwk": json.RawMessage(own)}),
		"a key of its own under a known name":  sign(t, "ES256", attacker, "e", body, map[string]any{"jwk": json.RawMessage(own)}),
		"a place for keys":                     sign(t, "ES256", attacker, "e", body, map[string]any{"jku": "http://attacker.test/keys"}),
		"a certificate":                        sign(t, "ES256", attacker, "e", body, map[string]any{"x5u": "http://attacker.test/cert"}),
		"name of a file":                       sign(t, "ES256", attacker, "../../../dev/null", body, nil),
		"name of another key":                  sign(t, "RS256", rsaKey(), "e", body, nil),
		"long name":                            sign(t, "ES256", attacker, strings.Repeat("k", 600), body, nil),
		"critical extension":                   sign(t, "RS256", rsaKey(), "r", body, map[string]any{"crit": []string{"b64"}, "b64": true}),
		"signed by somebody else":              sign(t, "ES256", attacker, "e", body, nil),
		"signed by somebody else, without kid": sign(t, "ES256", attacker, "", body, nil),
	} {
		for which, s := range map[string]*Set{"static": s, "published": published} {
			if which == "static" && name == "name of another key" {
				continue // names do not matter there
			}
			for _, allowed := range [][]string{s.Algorithms(), Asymmetric(), Algorithms()} {
				if got, err := verify(s, text, allowed); !Refused(err) || got != "" {
					t.Errorf("%s, %s: got %q, %v", name, which, got, err)
				}
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	good := sign(t, "HS256", shared, "", `{}`, nil)
	parts := strings.Split(good, ".")
	for _, text := range []string{"", ".", "..", "...", "a.b.c", good + ".", good + "." + parts[0] + "." + parts[1], " " + good, good + "\n", parts[0] + "." + parts[1],
		`{"payload":"e30","signatures":[]}`, strings.Repeat("a", maxToken+1), parts[0] + "=." + parts[1] + "." + parts[2], strings.Repeat("A", 30_000) + "." + parts[1] + "." + parts[2]} {
		if _, err := Parse(text, Algorithms()); err == nil || !Refused(err) {
			t.Errorf("%.40q: got %v", text, err)
		}
	}
}

func TestKeyNames(t *testing.T) {
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s := setOf(t, false, jose.JSONWebKey{Key: other.Public(), KeyID: "old"}, jose.JSONWebKey{Key: ecKey().Public(), KeyID: "new"}, jose.JSONWebKey{Key: rsaKey().Public()})
	for _, c := range []struct {
		name, id string
		want     error
	}{{"named", "new", nil}, {"by trying", "", nil}, {"wrong name", "old", ErrSignature}, {"unknown name", "newer", ErrKey}} {
		if _, err := verify(s, sign(t, "ES256", ecKey(), c.id, `{}`, nil), Asymmetric()); err != c.want {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if _, err := verify(s, sign(t, "EdDSA", edwd, "", `{}`, nil), Asymmetric()); err != ErrKey {
		t.Errorf("no key of that kind: got %v", err)
	}
}

func TestParseSet(t *testing.T) {
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	jwk := func(k jose.JSONWebKey) string {
		text, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	ec := jwk(jose.JSONWebKey{Key: ecKey().Public(), KeyID: "a"})
	oct := `{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}`
	for _, c := range []struct {
		name, keys string
		secret     bool
		want       int // 0 is an error
	}{
		{"one", ec, false, 1},
		{"private", jwk(jose.JSONWebKey{Key: ecKey()}), false, 1},
		{"secret", oct, true, 1},
		{"published secret", oct, false, 0},
		{"empty secret", `{"kty":"oct","k":""}`, true, 0},
		{"for encryption", strings.Replace(ec, "{", `{"use":"enc",`, 1), false, 0},
		{"for signing only", strings.Replace(ec, "{", `{"key_ops":["sign"],`, 1), false, 0},
		{"for verifying", strings.Replace(ec, "{", `{"key_ops":["verify"],`, 1), false, 1},
		{"wrong alg", strings.Replace(ec, "{", `{"alg":"RS256",`, 1), false, 0},
		{"alg of encryption", strings.Replace(ec, "{", `{"alg":"ECDH-ES",`, 1), false, 0},
		{"small RSA", jwk(jose.JSONWebKey{Key: small.Public()}), false, 0},
		{"unknown kind beside a good one", `{"kty":"AKP","pub":"x"},{"kty":7},"x",null,` + ec, false, 1},
		{"not on the curve", `{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`, false, 0},
		{"none", "", false, 0},
		{"too many", strings.Repeat(ec+",", maxKeys) + ec, false, 0},
	} {
		s, err := ParseSet([]byte(`{"keys":[`+c.keys+`]}`), c.secret)
		if (err != nil) != (c.want == 0) || err == nil && s.Len() != c.want {
			t.Errorf("%s: got %v, %v", c.name, s, err)
		}
	}
	for _, text := range []string{"", "[]", "{}", `{"keys":{}}`, `{"keys":null}`, "<html>"} {
		if _, err := ParseSet([]byte(text), true); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestPublicKeys(t *testing.T) {
	good := string(pemOf(t, ecKey().Public()))
	private, _ := x509.MarshalPKCS8PrivateKey(ecKey())
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	leaf := testkit.NewCA(t).Leaf(t, "a.test")
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"one": {good, 1}, "two": {good + "text between\n" + string(pemOf(t, rsaKey().Public())), 2},
		"RSA":         {string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)})), 1},
		"certificate": {string(leaf.CertPEM), 1},
		"nothing":     {"", 0}, "private": {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), 0},
		"junk inside": {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 0}, "small": {string(pemOf(t, small.Public())), 0}, "many": {strings.Repeat(good, maxTries+1), 0},
	} {
		s, err := PublicKeys([]byte(c.text))
		if (err != nil) != (c.want == 0) || err == nil && s.Len() != c.want {
			t.Errorf("%s: got %v, %v", name, s, err)
		}
	}
	if _, err := Secret(nil); err == nil {
		t.Error("an empty secret was taken")
	}
}

// rotating is a source whose renewed set is another.
type rotating struct {
	old, new *Set
	err      error
	renewed  int
}

func (r *rotating) Keys(context.Context) (*Set, error)    { return r.old, r.err }
func (r *rotating) Renewed(context.Context) (*Set, error) { r.renewed++; return r.new, r.err }

func TestRotation(t *testing.T) {
	old := setOf(t, false, jose.JSONWebKey{Key: rsaKey().Public(), KeyID: "old"})
	newer := setOf(t, false, jose.JSONWebKey{Key: ecKey().Public(), KeyID: "new"})
	r := &rotating{old: old, new: newer}
	if _, err := verify(r, sign(t, "RS256", rsaKey(), "old", `{}`, nil), Asymmetric()); err != nil || r.renewed != 0 {
		t.Errorf("known key: %v, renewed %d", err, r.renewed)
	}
	if _, err := verify(r, sign(t, "ES256", ecKey(), "new", `{}`, nil), Asymmetric()); err != nil || r.renewed != 1 {
		t.Errorf("new key: %v, renewed %d", err, r.renewed)
	}
	if _, err := verify(r, sign(t, "ES256", ecKey(), "none", `{}`, nil), Asymmetric()); err != ErrKey {
		t.Errorf("unknown key: %v", err)
	}
	if _, err := verify(r, sign(t, "RS256", rsaKey(), "old", `{}`, nil)+"x", Asymmetric()); !Refused(err) || r.renewed != 2 {
		t.Errorf("wrong signature: %v, renewed %d", err, r.renewed)
	}
	r.err = errors.New("down")
	if _, err := verify(r, sign(t, "RS256", rsaKey(), "old", `{}`, nil), Asymmetric()); err == nil || Refused(err) {
		t.Errorf("no keys: %v", err)
	}
}

func TestTimes(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for payload, want := range map[string]error{
		`{}`: nil, `{"exp":1000001}`: nil, `{"exp":1000000}`: nil, `{"exp":999990}`: ErrExpired, `{"exp":999991}`: nil, `{"exp":999990.5}`: nil, `{"exp":0}`: ErrExpired, `{"exp":-1}`: ErrExpired,
		`{"exp":1e300}`: nil, `{"exp":1e400}`: ErrTimes, `{"exp":"1000001"}`: ErrTimes, `{"exp":null}`: ErrTimes, `{"exp":[1000001]}`: ErrTimes,
		`{"nbf":1000010}`: nil, `{"nbf":1000011}`: ErrTooEarly, `{"nbf":1e300}`: ErrTooEarly, `{"nbf":-1e300}`: nil, `{"iat":1000011}`: ErrTooEarly, `{"iat":true}`: ErrTimes,
		`{"exp":1000001,"nbf":999999,"iat":999999}`: nil,
	} {
		c, err := claims.Decode([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		if got := CheckTimes(c, now, 10*time.Second); got != want {
			t.Errorf("%s: got %v, want %v", payload, got, want)
		}
	}
}

func TestCheckAlgorithms(t *testing.T) {
	if bad := CheckAlgorithms([]string{"RS256", "none", "HS256", "rs256"}); len(bad) != 2 || bad[1] == nil || bad[3] == nil {
		t.Errorf("got %v", bad)
	}
	if bad := CheckAlgorithms(Algorithms()); bad != nil {
		t.Errorf("got %v", bad)
	}
}

func FuzzParse(f *testing.F) {
	s, _ := Secret(shared)
	good := sign(f, "HS256", shared, "k", `{"exp":1}`, nil)
	for _, text := range []string{good, byHand(`{"alg":"none"}`, "{}", nil), byHand(`{"alg":"HS256","crit":["b64"],"b64":false}`, "{}", shared), "a.b.c", "...", byHand(`{"alg":"HS256","kid":1}`, "{}", shared)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := Parse(text, Algorithms())
		if (token == nil) != (err != nil) {
			t.Fatal("token and error do not fit")
		}
		if err != nil {
			return
		}
		payload, err := s.Verify(token)
		if err == nil && byHandAgrees(text) != nil {
			t.Errorf("%q was accepted with %q: %v", text, payload, byHandAgrees(text))
		}
	})
}

// byHandAgrees verifies an HS256 token without the library.
func byHandAgrees(text string) error {
	at := strings.LastIndexByte(text, '.')
	sum, err := base64.RawURLEncoding.DecodeString(text[at+1:])
	if err != nil {
		return err
	}
	m := hmac.New(sha256.New, shared)
	m.Write([]byte(text[:at]))
	if !hmac.Equal(sum, m.Sum(nil)) {
		return fmt.Errorf("the signature is wrong")
	}
	return nil
}

func FuzzParseSet(f *testing.F) {
	text, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: ecKey().Public(), KeyID: "a", Use: "sig"}, {Key: shared, Algorithm: "HS256"}}})
	for _, s := range []string{string(text), `{"keys":[{"kty":"RSA","n":"AQ","e":"AQ"},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`, `{"keys":[{"kty":"EC","crv":"P-256","x":"","y":""}]}`, `{"keys":[null,1,{}]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, secret := range []bool{false, true} {
			s, err := ParseSet([]byte(text), secret)
			if (s == nil) != (err != nil) {
				t.Fatal("set and error do not fit")
			}
			if err == nil && (s.Len() == 0 || len(s.Algorithms()) == 0) {
				t.Errorf("%q has keys for nothing", text)
			}
		}
	})
}
