package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"sluice/internal/testkit"
)

// grpcServer answers the test service of gRPC.
type grpcServer struct {
	pb.UnimplementedTestServiceServer
	cancelled chan bool
}

func (s *grpcServer) UnaryCall(ctx context.Context, r *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if md, ok := metadata.FromIncomingContext(ctx); ok && len(md["x-ask"]) > 0 {
		grpc.SetHeader(ctx, metadata.Pairs("x-head", md["x-ask"][0]))
		grpc.SetTrailer(ctx, metadata.Pairs("x-trail-bin", "\x00"+md["x-ask"][0]))
	}
	if st := r.ResponseStatus; st != nil {
		return nil, status.Error(codes.Code(st.Code), st.Message)
	}
	if r.ResponseSize < 0 {
		<-ctx.Done()
		s.cancelled <- true
		return nil, ctx.Err()
	}
	return &pb.SimpleResponse{Payload: &pb.Payload{Body: make([]byte, r.ResponseSize)}, Username: fmt.Sprint(len(r.Payload.GetBody()))}, nil
}

func (s *grpcServer) StreamingInputCall(in grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse]) error {
	n := 0
	for {
		r, err := in.Recv()
		if err == io.EOF {
			return in.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(n)})
		}
		if err != nil {
			return err
		}
		n += len(r.Payload.GetBody())
	}
}

func (s *grpcServer) StreamingOutputCall(r *pb.StreamingOutputCallRequest, out grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error {
	for _, p := range r.ResponseParameters {
		if err := out.Send(&pb.StreamingOutputCallResponse{Payload: &pb.Payload{Body: make([]byte, p.Size)}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *grpcServer) FullDuplexCall(both grpc.BidiStreamingServer[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse]) error {
	for {
		r, err := both.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := both.Send(&pb.StreamingOutputCallResponse{Payload: r.Payload}); err != nil {
			return err
		}
	}
}

// The official client and the official server of gRPC understand each other through Sluice, in the clear and over TLS on both
// sides.
func TestGRPC(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) { testGRPC(t, secure) })
	}
}

func testGRPC(t *testing.T, secure bool) {
	var options []grpc.ServerOption
	scheme, entry, entryPoint := "h2c", "web", "entryPoints: [web]"
	creds := insecure.NewCredentials()
	if secure {
		conf := testkit.NewCA(t).Leaf(t, "a.test").ServerConfig()
		options = append(options, grpc.Creds(credentials.NewTLS(conf)))
		scheme, entry, entryPoint = "https", "secure", "tls: {}, entryPoints: [secure]"
		creds = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, ServerName: "a.test"})
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service := &grpcServer{cancelled: make(chan bool, 1)}
	server := grpc.NewServer(options...)
	pb.RegisterTestServiceServer(server, service)
	r := start(t, twoEntryPoints, `
http:
  routers:
    r: {rule: "PathPrefix(`+"`/`"+`)", service: s, `+entryPoint+`}
  services:
    s: {loadBalancer: {serversTransport: t, servers: [{url: "`+scheme+`://`+ln.Addr().String()+`"}]}}
  serversTransports:
    t: {insecureSkipVerify: true}
`)
	go server.Serve(ln)
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///"+r.addr(entry), grpc.WithTransportCredentials(creds), grpc.WithAuthority("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := pb.NewTestServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	t.Run("unary, metadata", func(t *testing.T) {
		var head, trail metadata.MD
		res, err := c.UnaryCall(metadata.AppendToOutgoingContext(ctx, "x-ask", "me"), &pb.SimpleRequest{ResponseSize: 7, Payload: &pb.Payload{Body: []byte("abc")}},
			grpc.Header(&head), grpc.Trailer(&trail))
		if err != nil || len(res.Payload.Body) != 7 || res.Username != "3" || head["x-head"][0] != "me" || trail["x-trail-bin"][0] != "\x00me" {
			t.Errorf("%v, %v, %v, %v", res, err, head, trail)
		}
	})
	t.Run("large", func(t *testing.T) {
		res, err := c.UnaryCall(ctx, &pb.SimpleRequest{ResponseSize: 3 << 20, Payload: &pb.Payload{Body: make([]byte, 3<<20)}})
		if err != nil || len(res.Payload.Body) != 3<<20 || res.Username != fmt.Sprint(3<<20) {
			t.Error(err)
		}
	})
	t.Run("status", func(t *testing.T) {
		text := "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
		_, err := c.UnaryCall(ctx, &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: 9, Message: text}})
		if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != text {
			t.Error(err)
		}
		if _, err := c.UnimplementedCall(ctx, &pb.Empty{}); status.Code(err) != codes.Unimplemented {
			t.Error(err)
		}
	})
	t.Run("client stream", func(t *testing.T) {
		s, err := c.StreamingInputCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{27182, 8, 1828, 45904} {
			s.Send(&pb.StreamingInputCallRequest{Payload: &pb.Payload{Body: make([]byte, n)}})
		}
		if res, err := s.CloseAndRecv(); err != nil || res.AggregatedPayloadSize != 74922 {
			t.Errorf("%v, %v", res, err)
		}
	})
	t.Run("server stream", func(t *testing.T) {
		ask := &pb.StreamingOutputCallRequest{}
		for _, n := range []int32{31415, 9, 2653, 58979} {
			ask.ResponseParameters = append(ask.ResponseParameters, &pb.ResponseParameters{Size: n})
		}
		s, err := c.StreamingOutputCall(ctx, ask)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ask.ResponseParameters {
			if res, err := s.Recv(); err != nil || len(res.Payload.Body) != int(p.Size) {
				t.Fatal(err)
			}
		}
		if _, err := s.Recv(); err != io.EOF {
			t.Error(err)
		}
	})
	t.Run("both ways", func(t *testing.T) {
		s, err := c.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 1000, 100_000} {
			body := strings.Repeat("x", n)
			s.Send(&pb.StreamingOutputCallRequest{Payload: &pb.Payload{Body: []byte(body)}})
			if res, err := s.Recv(); err != nil || string(res.Payload.Body) != body {
				t.Fatal(err)
			}
		}
		s.CloseSend()
		if _, err := s.Recv(); err != io.EOF {
			t.Error(err)
		}
	})
	t.Run("cancel and deadline", func(t *testing.T) {
		for want, limit := range map[codes.Code]time.Duration{codes.Canceled: 0, codes.DeadlineExceeded: 200 * time.Millisecond} {
			ctx, cancel := context.WithCancel(ctx)
			if limit > 0 {
				ctx, cancel = context.WithTimeout(ctx, limit)
			} else {
				time.AfterFunc(100*time.Millisecond, cancel)
			}
			_, err := c.UnaryCall(ctx, &pb.SimpleRequest{ResponseSize: -1})
			cancel()
			if status.Code(err) != want {
				t.Error(err)
			}
			<-service.cancelled
		}
	})
}
