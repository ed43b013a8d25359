package httpmsg

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestIDOf(t *testing.T) {
	for id := HdrOther + 1; id < idCount; id++ {
		for _, s := range []string{id.String(), strings.ToLower(id.String()), strings.ToUpper(id.String())} {
			if got := IDOf(s); got != id {
				t.Errorf("IDOf(%q) = %v, want %v", s, got, id)
			}
		}
		for _, s := range []string{id.String() + "x", id.String()[1:], strings.Replace(id.String(), "-", "\r", 1), "_" + id.String()[1:]} {
			if got := IDOf(s); got != HdrOther && !strings.EqualFold(got.String(), s) {
				t.Errorf("IDOf(%q) = %v", s, got)
			}
		}
	}
	for _, s := range []string{"", "a", "X-Unknown", strings.Repeat("x", 300)} {
		if got := IDOf(s); got != HdrOther {
			t.Errorf("IDOf(%q) = %v, want HdrOther", s, got)
		}
	}
}

// Two names in one slot would still be found, only slower; this says when the factors of slotOf want another look.
func TestSlotsHaveNoClash(t *testing.T) {
	for id := HdrOther + 1; id < idCount; id++ {
		if slots[slotOf(viewOf(names[id]))] != id {
			t.Logf("%s is not at its own slot", id)
		}
	}
}

func TestEqualFoldAgainstBytewise(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		a := make([]byte, r.IntN(20))
		for i := range a {
			a[i] = byte(r.IntN(256))
		}
		b := append([]byte(nil), a...)
		for i := range b {
			switch r.IntN(6) {
			case 0:
				b[i] ^= 0x20
			case 1:
				if r.IntN(4) == 0 {
					b[i] = byte(r.IntN(256))
				}
			}
		}
		want := true
		for i := range a {
			want = want && lower(a[i]) == lower(b[i])
		}
		if got := View(a).EqualFold(string(b)); got != want {
			t.Fatalf("EqualFold(%q, %q) = %v, want %v", a, b, got, want)
		}
	}
}

func BenchmarkIDOf(b *testing.B) {
	in := []View{View("Host"), View("User-Agent"), View("accept-encoding"), View("X-Forwarded-For"), View("X-Other-Thing"), View("Cookie")}
	for b.Loop() {
		for _, v := range in {
			if IDOfView(v) == idCount {
				b.Fatal()
			}
		}
	}
}
