package health

import (
	"strings"
	"testing"

	"sluice/internal/wire/httpmsg"
)

func frame(message string) string {
	return string([]byte{0, 0, 0, 0, byte(len(message))}) + message
}

func TestServingOf(t *testing.T) {
	for _, c := range []struct {
		name, frame string
		status      uint64
		ok          bool
	}{
		{"serving", frame("\x08\x01"), 1, true},
		{"not serving", frame("\x08\x02"), 2, true},
		{"absent is unknown", frame(""), 0, true},
		{"the last one counts", frame("\x08\x02\x08\x01"), 1, true},
		{"a long varint", frame("\x08\x81\x00"), 1, true},
		{"unknown fields of every type", frame("\x10\x07\x19" + "12345678" + "\x22\x03abc\x2d" + "1234" + "\x08\x01"), 1, true},
		{"nothing", "", 0, false},
		{"a cut frame", frame("\x08\x01")[:6], 0, false},
		{"two messages", frame("\x08\x01") + frame("\x08\x01"), 0, false},
		{"compressed", "\x01" + frame("\x08\x01")[1:], 0, false},
		{"a key without a value", frame("\x08"), 0, false},
		{"a varint without an end", frame("\x08\xff"), 0, false},
		{"a length beyond the end", frame("\x22\x05abc"), 0, false},
		{"64 bits beyond the end", frame("\x19abc"), 0, false},
		{"32 bits beyond the end", frame("\x2dabc"), 0, false},
		{"a group", frame("\x0b\x0c"), 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if status, err := servingOf([]byte(c.frame)); status != c.status || (err == nil) != c.ok {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
}

func TestGRPCStatus(t *testing.T) {
	for _, c := range []struct{ status, message, want string }{
		{"0", "", ""}, {"", "", "without a grpc-status"}, {"12", "x", "does not have the gRPC health service"},
		{"14", "not%20now", `grpc-status "14": not now`}, {"14", "%zz", `grpc-status "14"`}, {strings.Repeat("9", 100), "", `"9999999999"`},
	} {
		var h httpmsg.Header
		if c.status != "" {
			h.Add("grpc-status", c.status)
			h.Add("grpc-message", c.message)
		}
		if err := grpcStatus(&h); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func FuzzServingOf(f *testing.F) {
	for _, seed := range []string{"", "\x08\x01", "\x10\x07\x19" + "12345678" + "\x22\x03abc\x2d" + "1234" + "\x08\x01", "\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		f.Add([]byte(frame(seed)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if status, err := servingOf(data); err != nil && status != 0 {
			t.Errorf("%d in spite of %v", status, err)
		}
	})
}
