// What a page does: TokenSource.endpoint(url).fetch(options). Prints the connection's details as JSON.
const { TokenSource } = require('livekit-client');

const [url, options] = process.argv.slice(2);
TokenSource.endpoint(url)
  .fetch(JSON.parse(options))
  .then((details) => console.log(JSON.stringify(details)))
  .catch((error) => {
    console.error(String(error));
    process.exitCode = 1;
  });
