package sniff

const (
	recordAlert     = 21
	recordHandshake = 22

	recordHeader    = 5
	messageHeader   = 4
	maxRecord       = 1 << 14
	typeClientHello = 1
)

const (
	// MaxMessage is the greatest ClientHello that is read, in bytes of the handshake message.
	MaxMessage = 64 << 10
	// MaxBytes is how many bytes of the connection one hello may take with all record headers. Records of one byte make six
	// of each; a hello of 20 KiB still fits in that shape.
	MaxBytes = 128 << 10
)

// ClientHello reads the TLS ClientHello at the start of b, whatever number of records it is cut into (RFC 8446 5.1).
//
// If b ends too early, need is the least length of b with which it is worth calling again (always more than len(b)) and err is
// nil. If the hello is complete, need is 0. err is an *Error for bytes that can never become an acceptable hello; bytes
// behind the hello are not looked at. With an error h holds what was read before the fault.
func ClientHello(b []byte) (h Hello, need int, err error) {
	var s Scan
	return s.ClientHello(b)
}

// Scan reads a hello that arrives piece by piece: it remembers which records it has seen, so that a hello of thousands of tiny
// records costs time in proportion to its length. The zero value is ready. It is not for concurrent use.
type Scan struct {
	off  int // start of the first record that is not complete
	got  int // bytes of the message in the records before off
	want int // length of the message with its header; 0 while that is not known
	head [messageHeader]byte
}

// ClientHello is as the function of this name. Each call must be given the same bytes as the call before, with more behind them.
func (s *Scan) ClientHello(b []byte) (h Hello, need int, err error) {
	for {
		rest := b[min(s.off, len(b)):]
		if len(rest) < recordHeader {
			// A wrong type is refused before the header is complete: its sender may have nothing more to say.
			if len(rest) == 0 {
				return s.more(s.off + 1)
			}
			if rest[0] != recordHandshake {
				return Hello{}, 0, ErrContentType
			}
			return s.more(s.off + recordHeader)
		}
		size := int(rest[3])<<8 | int(rest[4])
		switch {
		case rest[0] != recordHandshake:
			return Hello{}, 0, ErrContentType
		case rest[1] != 3:
			return Hello{}, 0, ErrVersion
		case size == 0:
			return Hello{}, 0, ErrEmptyRecord
		case size > maxRecord:
			return Hello{}, 0, ErrRecordSize
		}
		body := rest[recordHeader:]
		if len(body) > size {
			body = body[:size]
		}
		if s.want == 0 {
			n := copy(s.head[min(s.got, messageHeader):], body)
			if s.got+n > 0 && s.head[0] != typeClientHello {
				return Hello{}, 0, ErrMessageType
			}
			if s.got+n >= messageHeader {
				s.want = messageHeader + int(s.head[1])<<16 + int(s.head[2])<<8 + int(s.head[3])
				if s.want > MaxMessage {
					return Hello{}, 0, ErrTooLarge
				}
			}
		}
		switch {
		case s.want != 0 && s.got+len(body) >= s.want:
			if s.off+recordHeader+s.want-s.got > MaxBytes {
				return Hello{}, 0, ErrTooLarge
			}
			h, err = parse(s.message(b))
			return h, 0, err
		case len(body) == size:
			s.got += size
			s.off += recordHeader + size
		case s.got+len(body) == 0:
			return s.more(s.off + recordHeader + 1) // the type alone may refuse it
		case s.want == 0:
			// The length may stand in this record or go on in the next one.
			return s.more(s.off + recordHeader + min(size, messageHeader-s.got))
		default:
			return s.more(s.off + recordHeader + min(size, s.want-s.got))
		}
	}
}

func (s *Scan) more(need int) (Hello, int, error) {
	if need > MaxBytes {
		return Hello{}, 0, ErrTooLarge
	}
	return Hello{}, need, nil
}

// message returns the body of the hello: a part of b if it lies in one record, else put together in new memory.
func (s *Scan) message(b []byte) []byte {
	if s.off == 0 {
		return b[recordHeader+messageHeader : recordHeader+s.want]
	}
	msg := make([]byte, 0, s.want)
	for off := 0; len(msg) < s.want; {
		size := int(b[off+3])<<8 | int(b[off+4])
		off += recordHeader
		n := min(size, s.want-len(msg))
		msg = append(msg, b[off:off+n]...)
		off += size
	}
	return msg[messageHeader:]
}
