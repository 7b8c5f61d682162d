//! Where a backend begins to refuse what is too large for it.

/// The largest length that is not refused, when that of the next one is: `refusal` says why a length below `too_long` is refused,
/// which is for what `allowed` says.
///
/// # Panics
///
/// When nothing is refused or even the shortest, and when a refusal does not say `allowed`.
pub async fn largest(
    too_long: usize,
    allowed: &str,
    refusal: impl AsyncFn(usize) -> Option<String>,
) -> usize {
    let fits = async |length: usize| match refusal(length).await {
        Some(refusal) => {
            assert!(refusal.contains(allowed), "{refusal}");
            false
        }
        None => true,
    };
    let (mut fitting, mut too_long) = (0, too_long);
    assert!(fits(fitting).await && !fits(too_long).await, "it is in between");
    while too_long - fitting > 1 {
        let length = usize::midpoint(fitting, too_long);
        if fits(length).await {
            fitting = length;
        } else {
            too_long = length;
        }
    }
    fitting
}
