package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"sluice/internal/wire/httpmsg"
)

// The health service of gRPC, asked about the server as a whole (an empty name of a service). Its messages are small enough
// to be read here: the request is empty, the answer has one enum.
const (
	grpcCheck   = "/grpc.health.v1.Health/Check"
	grpcType    = "application/grpc"
	grpcFrame   = 5        // one byte of flags, four of length
	maxGRPC     = 64 << 10 // of an answer
	grpcServing = 1
)

// emptyMessage is a frame of gRPC with an empty message.
var emptyMessage = make([]byte, grpcFrame)

// servingStatus are the names of HealthCheckResponse.ServingStatus.
var servingStatus = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

// grpcURL is where a server's health service is asked: gRPC needs HTTP/2, so http means HTTP/2 in the clear.
func grpcURL(u *url.URL) *url.URL {
	out := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: grpcCheck}
	if out.Scheme == "http" {
		out.Scheme = "h2c"
	}
	return out
}

// probeGRPC asks the server once for grpc.health.v1.
func (k *Checker) probeGRPC(ctx context.Context, u *url.URL) error {
	x, done := k.exchange(ctx, "POST", u, k.opts.hostname)
	defer done()
	x.Req.Trailers = true
	x.Req.Header.Add("Content-Type", grpcType)
	x.Req.Header.Add("TE", "trailers")
	x.Req.Header.Add("Grpc-Timeout", strconv.FormatInt(max(k.opts.timeout.Milliseconds(), 1), 10)+"m")
	x.Req.Body, x.Req.ContentLength = &httpmsg.Bytes{Data: emptyMessage}, grpcFrame
	if err := k.roundTrip(x, u); err != nil {
		return err
	}
	if x.Res.Status != 200 {
		return fmt.Errorf("status %d is no answer to a gRPC call", x.Res.Status)
	}
	if t := x.Res.Header.Get(httpmsg.HdrContentType); len(t) < len(grpcType) || !t[:len(grpcType)].EqualFold(grpcType) {
		return fmt.Errorf("the answer's type is %q, not %s", t.String(), grpcType)
	}
	message, err := readGRPC(x.Res.Body)
	if err != nil {
		return err
	}
	// An answer without a message has its status in the head, others in the trailer.
	fields := &x.Res.Header
	if body := x.Res.Body; body != nil && fields.Lookup("Grpc-Status") == nil {
		if fields = body.Trailer(); fields == nil {
			return errors.New("the answer ends without a grpc-status")
		}
	}
	if err := grpcStatus(fields); err != nil {
		return err
	}
	serving, err := servingOf(message)
	if err != nil {
		return err
	}
	if serving != grpcServing {
		if serving < uint64(len(servingStatus)) {
			return fmt.Errorf("the server is %s", servingStatus[serving])
		}
		return fmt.Errorf("the server has the unknown health %d", serving)
	}
	return nil
}

// grpcStatus returns what a grpc-status other than OK says.
func grpcStatus(h *httpmsg.Header) error {
	code := h.Lookup("Grpc-Status").String()
	switch code {
	case "0":
		return nil
	case "":
		return errors.New("the answer ends without a grpc-status")
	case "12":
		return errors.New("the server does not have the gRPC health service")
	}
	text := fmt.Sprintf("grpc-status %.10q", code)
	if message, err := url.PathUnescape(h.Lookup("Grpc-Message").String()); err == nil && message != "" {
		text += ": " + message
	}
	return errors.New(text)
}

// readGRPC reads the body of an answer to its end.
func readGRPC(b httpmsg.Body) ([]byte, error) {
	var out []byte
	for b != nil {
		p, err := b.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(out)+len(p) > maxGRPC {
			return nil, errors.New("the answer is too long")
		}
		out = append(out, p...)
	}
	return out, nil
}

// servingOf reads the status out of a framed HealthCheckResponse: field 1, a varint, 0 where it is absent. The encoding of
// protocol buffers allows other fields around it, and repetitions, of which the last counts.
func servingOf(frame []byte) (status uint64, err error) {
	bad := errors.New("the answer is no HealthCheckResponse")
	if len(frame) < grpcFrame || frame[0] != 0 || uint64(binary.BigEndian.Uint32(frame[1:])) != uint64(len(frame)-grpcFrame) {
		return 0, bad
	}
	for rest := frame[grpcFrame:]; len(rest) > 0; {
		key, n := binary.Uvarint(rest)
		if n <= 0 {
			return 0, bad
		}
		rest = rest[n:]
		switch key & 7 {
		case 0: // varint
			value, n := binary.Uvarint(rest)
			if n <= 0 {
				return 0, bad
			}
			rest = rest[n:]
			if key>>3 == 1 {
				status = value
			}
			continue
		case 1: // 64 bits
			n = 8
		case 2: // with a length in front
			size, at := binary.Uvarint(rest)
			if at <= 0 || size > uint64(len(rest)-at) {
				return 0, bad
			}
			n = at + int(size)
		case 5: // 32 bits
			n = 4
		default:
			return 0, bad
		}
		if n > len(rest) {
			return 0, bad
		}
		rest = rest[n:]
	}
	return status, nil
}
