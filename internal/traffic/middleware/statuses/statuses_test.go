package statuses

import "testing"

func TestParse(t *testing.T) {
	s, _, err := Parse([]string{"404", "500-599", " 429 "})
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[int]bool{404: true, 403: false, 500: true, 599: true, 600: false, 429: true, 499: false} {
		if got := s.Has(code); got != want {
			t.Errorf("%d: got %v", code, got)
		}
	}
	if Set(nil).Has(200) {
		t.Error("the empty set holds something")
	}
	for _, bad := range []string{"", "-", "5", "50x", "500,503", "599-500", "500-", "-500", "500-501-502", "+500-", "0500-9999", "99", "1000"} {
		if _, at, err := Parse([]string{"200", bad}); err == nil || at != 1 {
			t.Errorf("%q: error %v at %d", bad, err, at)
		}
	}
}

func TestRewrites(t *testing.T) {
	l, err := ParseRewrites(map[string]int{"500-599": 500, "502-504": 503, "502": 404, "400-499": 400, "450-549": 450})
	if err != nil {
		t.Fatal(err)
	}
	// 400-499, 450-549 and 500-599 are equally wide: the lowest wins.
	for code, want := range map[int]int{449: 400, 460: 400, 500: 450, 501: 450, 502: 404, 503: 503, 505: 450, 550: 500, 200: 200} {
		if got := l.Of(code); got != want {
			t.Errorf("%d became %d, want %d", code, got, want)
		}
	}
	for bad, to := range map[string]int{"x": 500, "500": 99, "501": 101} {
		if _, err := ParseRewrites(map[string]int{bad: to}); err == nil {
			t.Errorf("%s to %d was accepted", bad, to)
		}
	}
}
