-- What wrk sends. Arguments after "--": host, kind, number.
-- kinds: get (the URL as it is), headers (as a browser sends them), upload (number = body bytes), hosts (number = how many)
function init(args)
   wrk.headers["Host"] = args[1]
   local kind, n = args[2], tonumber(args[3])
   if kind == "headers" then
      -- With Host these are 20 fields, of the names and lengths that a browser on a site with cookies sends.
      local h = wrk.headers
      h["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
      h["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
      h["Accept-Encoding"] = "gzip, deflate, br, zstd"
      h["Accept-Language"] = "en-GB,en;q=0.9,de;q=0.8,fr;q=0.7"
      h["Cache-Control"] = "max-age=0"
      h["Cookie"] = "session=0123456789abcdef0123456789abcdef; theme=dark; _ga=GA1.1.1234567890.1234567890; consent=all"
      h["Referer"] = "https://www.example.test/a/page/that/links/here?with=a&query=string"
      h["Sec-Ch-Ua"] = '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"'
      h["Sec-Ch-Ua-Mobile"] = "?0"
      h["Sec-Ch-Ua-Platform"] = '"Linux"'
      h["Sec-Fetch-Dest"] = "document"
      h["Sec-Fetch-Mode"] = "navigate"
      h["Sec-Fetch-Site"] = "same-origin"
      h["Sec-Fetch-User"] = "?1"
      h["Upgrade-Insecure-Requests"] = "1"
      h["Dnt"] = "1"
      h["Priority"] = "u=0, i"
      h["If-None-Match"] = '"5f3c1a7e-2b0"'
      h["X-Requested-With"] = "XMLHttpRequest"
   elseif kind == "upload" then
      wrk.method = "POST"
      wrk.body = string.rep("x", n)
   elseif kind == "hosts" then
      -- All requests are made before the run: choosing one costs wrk nothing that it would not pay for a fixed one.
      local all = {}
      for i = 0, n - 1 do
         wrk.headers["Host"] = string.format("h%d.bench.test", i)
         all[#all + 1] = wrk.format("GET", "/")
      end
      math.randomseed(42)
      request = function() return all[math.random(#all)] end
   end
end

function done(summary, latency)
   local e = summary.errors
   print(string.format('RESULT {"requests":%d,"seconds":%.6f,"p50us":%.1f,"p99us":%.1f,"errors":%d}',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      e.connect + e.read + e.write + e.timeout + e.status))
end
